//! The URL of a gateway, as far as it is needed to send requests to it.

use std::str::FromStr;

/// A place to send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Whether over TLS.
    pub(super) is_tls: bool,
    /// What `Host` says.
    pub(super) authority: String,
    /// The host, without brackets.
    pub(super) host: String,
    port: u16,
    /// The path; it begins with `/`.
    pub(super) path: String,
}

impl Site {
    /// Host and port to connect to.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("write http://HOST/PATH or https://HOST/PATH".to_owned()),
        };
        let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) => (authority, path),
            None => (rest, "/"),
        };
        check_path(path)?;
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(is_of_host) {
            return Err("a host has letters, digits, `-`, `.`, and a port behind `:`".to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse().map_err(|_| format!("`{port}` is no port"))?,
            ),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self {
            is_tls,
            authority: authority.to_owned(),
            host: bare.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

/// A plain path: every odd way to write it is ours to add.
///
/// # Errors
/// When it is none.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let is_odd = path.contains("//") || path.split('/').any(|it| it == "." || it == "..");
    if !path.starts_with('/') || is_odd || !path.chars().all(is_plain) {
        return Err(
            "a path begins with `/` and has letters, digits, `-`, `.`, `_` and `~`: no query, no \
             escapes, no `//`, no `..`"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let site: Site = "https://api.example.com/a/b".parse().unwrap();
        assert_eq!(
            (site.place(), &*site.path),
            ("api.example.com:443".to_owned(), "/a/b")
        );
        let site: Site = "http://[::1]:8000".parse().unwrap();
        assert_eq!((site.place(), &*site.path), ("[::1]:8000".to_owned(), "/"));
        assert_eq!(
            (&*site.host, &*site.authority, site.is_tls),
            ("::1", "[::1]:8000", false)
        );
        let site: Site = "http://[::1]/".parse().unwrap();
        assert_eq!(site.place(), "[::1]:80");
        for wrong in [
            "",
            "api.example.com",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://a:b/",
            "http://a@b/",
            "http://a/b?c",
            "http://a/b//c",
            "http://a/../b",
            "http://a/%62",
            "http://a:99999/",
            "http://a\r\n/",
            "http://a/b c",
        ] {
            assert!(wrong.parse::<Site>().is_err(), "{wrong:?}");
        }
    }
}

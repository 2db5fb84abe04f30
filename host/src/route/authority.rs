//! The two other parts of a request that a route looks at, in the one form that they are compared
//! in: the method and the host.

use std::net::Ipv6Addr;
use std::sync::Arc;

/// The longest method, in bytes.
pub const METHOD_MAX_BYTES: usize = 32;
/// The longest host, in bytes, without its port.
pub const HOST_MAX_BYTES: usize = 255;

/// The text is not a method (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a method; one is a word of at most {METHOD_MAX_BYTES} bytes, for example GET")]
pub struct MethodError;

/// The text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host; write a name in ASCII of at most {HOST_MAX_BYTES} bytes, an IPv4 address, or an \
     IPv6 address in brackets"
)]
pub struct HostError;

/// A method in upper case.
///
/// # Errors
/// [`MethodError`] for what is not a token or too long.
pub fn normal_method(text: &str) -> Result<Arc<str>, MethodError> {
    if text.is_empty() || text.len() > METHOD_MAX_BYTES || !text.bytes().all(is_token_byte) {
        return Err(MethodError);
    }
    Ok(text.to_ascii_uppercase().into())
}

/// A host in lower case, without its port and one dot at its end; an IPv6 address in brackets and
/// in its shortest form. An empty text stays empty: the request named no host.
///
/// # Errors
/// [`HostError`] for what is no host: another character, an empty label, user information, an IPv6
/// address without brackets or with a zone, a port that is no number from 0 to 65535.
pub fn normal_host(text: &str) -> Result<Arc<str>, HostError> {
    if text.is_empty() {
        return Ok("".into());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(HostError)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostError)?;
        if !port.is_empty() {
            check_port(port.strip_prefix(':').ok_or(HostError)?)?;
        }
        return Ok(format!("[{address}]").into());
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    check_port(port)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > HOST_MAX_BYTES || !name.split('.').all(is_label) {
        return Err(HostError);
    }
    Ok(name.to_ascii_lowercase().into())
}

/// Whether a text is the name of a header: a token (RFC 9110 §5.1).
pub(crate) fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2): a method or the name of a header.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A port is digits, or nothing (RFC 3986 §3.2.3).
fn check_port(port: &str) -> Result<(), HostError> {
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_empty() || (is_number && port.parse::<u16>().is_ok()) {
        Ok(())
    } else {
        Err(HostError)
    }
}

/// Underscores stand in the names of services, if not in those of hosts.
fn is_label(label: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (text, host) in [
            ("", ""),
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.com:8443", "api.example.com"),
            ("api.example.com:", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com.:443", "api.example.com"),
            ("my_service", "my_service"),
            ("xn--caf-dma.example", "xn--caf-dma.example"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("[2001:db8::1]:8443", "[2001:db8::1]"),
            ("[::]:", "[::]"),
        ] {
            assert_eq!(normal_host(text).as_deref(), Ok(host), "{text}");
        }
        assert!(normal_host(&format!("{}:80", "a".repeat(HOST_MAX_BYTES))).is_ok());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(HOST_MAX_BYTES + 1);
        for text in [
            ".",
            "a..",
            "a..b",
            ".a",
            ":80",
            "2001:db8::1",
            "[2001:db8::1",
            "[fe80::1%eth0]",
            "[]",
            "[::1]80",
            "[::1]:x",
            "[192.0.2.1]",
            "a:80:90",
            "a:+80",
            "a:65536",
            "a:8o",
            "u@a",
            "a/b",
            "a b",
            "a,b",
            "a\0",
            "café.example",
            "*",
            &long,
        ] {
            assert_eq!(normal_host(text), Err(HostError), "{text}");
        }
    }

    #[test]
    fn a_method_is_a_token_in_upper_case() {
        for (text, method) in [("GET", "GET"), ("get", "GET"), ("M-Search", "M-SEARCH")] {
            assert_eq!(normal_method(text).as_deref(), Ok(method));
        }
        for text in [
            "",
            "GET ",
            "G(T",
            "GÉT",
            "G\nT",
            &"A".repeat(METHOD_MAX_BYTES + 1),
        ] {
            assert_eq!(normal_method(text), Err(MethodError), "{text}");
        }
    }
}

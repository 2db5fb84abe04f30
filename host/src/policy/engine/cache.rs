//! The folder of compiled code. Whoever can change what is in it can run code as this process, so
//! that only a folder that nobody else can change is used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes the folder where there is none, and returns its real path when only this user can change
/// what is in it, or put another folder in its place.
pub(super) fn secure(folder: &Path) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("`{}`: {error}", folder.display());
    make(folder).map_err(failed)?;
    let folder = folder.canonicalize().map_err(failed)?;
    check(&folder)?;
    Ok(folder)
}

#[cfg(unix)]
fn make(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// The folder belongs to this user and nobody else can enter it, so that whatever the folders in it
/// allow nobody reaches them; one that others could once enter may hold what they left. Those that
/// it is in belong to this user or to root, and nobody else can write to them, or a sticky bit
/// keeps others from renaming what is not theirs (`/tmp`).
#[cfg(unix)]
fn check(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    const OPEN_TO_OTHERS: u32 = 0o077;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let user = rustix::process::geteuid().as_raw();
    for path in folder.ancestors() {
        let shown = path.display();
        let found = fs::symlink_metadata(path).map_err(|error| format!("`{shown}`: {error}"))?;
        if !found.is_dir() {
            return Err(format!("`{shown}` is not a folder"));
        }
        if found.uid() != user && found.uid() != 0 {
            return Err(format!(
                "`{shown}` belongs to another user, who could change the code in it"
            ));
        }
        if path == folder && found.mode() & OPEN_TO_OTHERS != 0 {
            return Err(format!(
                "others can enter `{shown}`, and may have changed the code in it; remove it, it is \
                 made anew"
            ));
        }
        let is_sticky = found.mode() & STICKY != 0;
        if found.mode() & WRITABLE_BY_OTHERS != 0 && !is_sticky {
            return Err(format!(
                "others can write to `{shown}`, and so change the code in it; `chmod go-w` it"
            ));
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Elsewhere, who may write where is for whoever names the folder to see to.
#[cfg(not(unix))]
fn check(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_it_makes_is_the_users_own() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/b");
        let real = base.path().canonicalize().unwrap().join("a/b");
        for _ in 0..2 {
            assert_eq!(secure(&folder), Ok(real.clone()));
            assert_eq!(mode(&folder), 0o700);
        }
        symlink(&folder, base.path().join("link")).unwrap();
        assert_eq!(secure(&base.path().join("link")), Ok(real));
    }

    #[test]
    fn what_others_can_change_is_refused_with_its_name() {
        let base = tempfile::tempdir().unwrap();
        let (above, folder) = (base.path().join("a"), base.path().join("a/b"));
        secure(&folder).unwrap();
        for (path, mode, is_secure) in [
            (&folder, 0o770, false),
            (&folder, 0o702, false),
            (&folder, 0o1777, false),
            // What is in it could be open to others.
            (&folder, 0o755, false),
            (&folder, 0o500, true),
            (&above, 0o770, false),
            (&above, 0o707, false),
            (&above, 0o1777, true),
            (&above, 0o700, true),
        ] {
            chmod(path, mode);
            let secured = secure(&folder);
            assert_eq!(secured.is_ok(), is_secure, "{mode:o}: {secured:?}");
            if let Err(error) = secured {
                let name = path.canonicalize().unwrap().display().to_string();
                let advice = if *path == folder {
                    "remove it"
                } else {
                    "chmod go-w"
                };
                assert!(error.contains(&name) && error.contains(advice), "{error}");
                chmod(path, 0o700);
            }
        }
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(secure(&file).is_err());
        assert!(secure(&file.join("below")).is_err());
    }
}

//! The file with the private keys that sign a log's checkpoints: one to a line, in the form of Go's
//! notes (`PRIVATE+KEY+<name>+<id>+<base64>`), the Ed25519 key first. For its owner only. The
//! governance key is in a file of the same form.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::entry::LOG_KEYS_MAX;
use super::storage::{FILE_MODE, parent};
use crate::tlog::key::{KeyError, KeyType, SEED_BYTES, Signer, VKEY_MAX_BYTES};

/// Why a key file was not made or read. No message says any of its text.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is one already.
    #[error("there is a file already, and a key is never overwritten; name another file")]
    Exists,
    /// The file could not be read or written.
    #[error("{0}")]
    Io(io::Error),
    /// A line is not a key.
    #[error("line {line}: {error}")]
    Key {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// Not an Ed25519 key, and perhaps an ML-DSA-44 key behind it.
    #[error("it has to hold an Ed25519 key, and at most an ML-DSA-44 key behind it")]
    Keys,
    /// Others than its owner may use it.
    #[error("others than its owner can read or write it; `chmod 600` it, or make a new key")]
    Open,
}

/// Makes a key file with an Ed25519 key of this name and, where there is a second seed, an
/// ML-DSA-44 key, from seeds that are random and nobody else's. It is there whole or not at all,
/// and outlives a power cut when this returns.
///
/// # Errors
/// [`KeyFileError`]; a file that is there is left as it is.
pub fn create_key_file(
    path: &Path,
    name: &str,
    seeds: &[[u8; SEED_BYTES]],
) -> Result<Vec<Signer>, KeyFileError> {
    const TYPES: [KeyType; LOG_KEYS_MAX] = [KeyType::Ed25519, KeyType::MlDsa44Cosignature];
    let signers: Result<Vec<_>, KeyError> = (TYPES.iter().zip(seeds))
        .map(|(key_type, seed)| Signer::from_seed(*key_type, name, seed))
        .collect();
    let signers = signers.map_err(|error| KeyFileError::Key { line: 1, error })?;
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let made = write_keys(&temporary, &signers).and_then(|()| {
        // Unlike a renaming this overwrites nothing.
        fs::hard_link(&temporary, path)?;
        File::open(parent(path))?.sync_all()
    });
    // Without its second name nobody finds it.
    drop(fs::remove_file(&temporary));
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists,
        _ => KeyFileError::Io(error),
    })?;
    Ok(signers)
}

fn write_keys(path: &Path, signers: &[Signer]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    let mut file = options.mode(FILE_MODE).open(path)?;
    for signer in signers {
        file.write_all(signer.to_private_text().as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`] says what to do about it.
pub fn read_key_file(path: &Path) -> Result<Vec<Signer>, KeyFileError> {
    const FILE_MAX_BYTES: usize = LOG_KEYS_MAX * (VKEY_MAX_BYTES + 1);
    let file = File::open(path).map_err(KeyFileError::Io)?;
    let mode = file.metadata().map_err(KeyFileError::Io)?.mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open);
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX_BYTES));
    let read = file.take(FILE_MAX_BYTES as u64).read_to_string(&mut text);
    read.map_err(KeyFileError::Io)?;
    let mut signers = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let signer = Signer::parse(text).map_err(|error| KeyFileError::Key { line, error })?;
        signers.push(signer);
    }
    let types = signers.iter().map(|it| it.verifier().key_type());
    match *types.collect::<Vec<_>>() {
        [KeyType::Ed25519] | [KeyType::Ed25519, KeyType::MlDsa44Cosignature] => Ok(signers),
        _ => Err(KeyFileError::Keys),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SEEDS: [[u8; SEED_BYTES]; 2] = [[7; 32], [8; 32]];

    #[test]
    fn reads_what_it_made_and_never_overwrites_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        let made = create_key_file(&path, "keyward.example/prod-eu", &SEEDS).unwrap();
        assert!(made[0].verifier().to_string().contains("+0c9dc446+"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let read = read_key_file(&path).unwrap();
        let vkeys = |signers: &[Signer]| -> Vec<String> {
            signers.iter().map(|it| it.verifier().to_string()).collect()
        };
        assert_eq!(vkeys(&read), vkeys(&made));
        let again = create_key_file(&path, "keyward.example/prod-eu", &[[1; 32]; 2]);
        assert!(matches!(again, Err(KeyFileError::Exists)));
        let one = folder.path().join("governance.key");
        let made_one = create_key_file(&one, "keyward.example/prod-eu", &SEEDS[..1]).unwrap();
        assert_eq!(vkeys(&made_one), vkeys(&made)[..1]);
        assert_eq!(vkeys(&read_key_file(&one).unwrap()), vkeys(&made_one));
        assert_eq!(vkeys(&read_key_file(&path).unwrap()), vkeys(&made));
    }

    #[test]
    fn refuses_files_that_others_can_read_and_files_of_other_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        create_key_file(&path, "keyward.example/prod-eu", &SEEDS).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        let write = |text: String| std::fs::write(&path, text).unwrap();
        lines.reverse();
        write(lines.join("\n"));
        assert!(matches!(read_key_file(&path), Err(KeyFileError::Keys)));
        write(text.replacen("+0c9dc446+", "+0c9dc447+", 1));
        let found = read_key_file(&path).map(drop).unwrap_err();
        assert!(
            matches!(found, KeyFileError::Key { line: 1, .. }),
            "{found}"
        );
        write(String::new());
        assert!(matches!(read_key_file(&path), Err(KeyFileError::Keys)));
        write(text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_key_file(&path), Err(KeyFileError::Open)));
    }
}

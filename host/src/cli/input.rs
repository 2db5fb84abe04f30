//! A file that is named as input can be a pipe: it is read as long as somebody writes to it, and
//! nobody waits for ever for one to whom nobody does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

/// How long the next bytes of a pipe are waited for, in seconds.
const PIPE_WAIT_MAX_SECONDS: u16 = 30;

/// A file, or a pipe.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    /// How long to wait for a pipe, in milliseconds; `None`: it is none.
    wait_ms: Option<u16>,
}

impl Input {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As of [`File::open`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, PIPE_WAIT_MAX_SECONDS.saturating_mul(1_000))
    }

    fn open_with(path: &Path, wait_ms: u16) -> io::Result<Self> {
        if !fs::metadata(path)?.file_type().is_fifo() {
            let file = File::open(path)?;
            return Ok(Self {
                file,
                wait_ms: None,
            });
        }
        // Otherwise to open it would wait for who writes.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        Ok(Self {
            file,
            wait_ms: Some(wait_ms),
        })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(wait_ms) = self.wait_ms else {
            return self.file.read(buffer);
        };
        loop {
            let mut pipe = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut pipe, wait_ms) {
                Ok(0) => {
                    let text = format!(
                        "nothing was written to the pipe for {wait_ms} ms; begin with what writes"
                    );
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_pipe_is_read_while_somebody_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let mut input = Input::open_with(&path, 50).unwrap();
        let mut text = String::new();
        let error = input.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut input = Input::open_with(&path, 60_000).unwrap();
        let to = path.clone();
        let writer = std::thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(to).unwrap();
            for _ in 0..3 {
                pipe.write_all(&[b'x'; 100_000]).unwrap();
            }
        });
        input.read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 300_000);
        writer.join().unwrap();
        // One who opens it and writes nothing is not waited for either.
        let _silent = OpenOptions::new().read(true).write(true).open(&path);
        let error = Input::open_with(&path, 50).unwrap().read(&mut [0]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        fs::write(folder.path().join("file"), "text").unwrap();
        let mut file = Input::open(&folder.path().join("file")).unwrap();
        assert_eq!(file.read(&mut [0; 9]).unwrap(), 4);
    }
}

//! Reads the segments of a directory and their lines, within limits.

use crate::ledger::line::LINE_BYTES_MAX;
use crate::mounted;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::{fs, io, mem};

/// How much is read from a segment at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// The file of the segment whose first record is number `first`.
pub(in crate::ledger) fn segment_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The first numbers of the segments in `directory`, in order. Other files are ignored.
///
/// # Errors
/// The directory cannot be read.
pub(in crate::ledger) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut res = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let first = name
            .to_str()
            .and_then(|it| it.strip_suffix(".jsonl"))
            .and_then(|it| it.parse().ok())
            .filter(|it| name.to_str() == Some(&segment_name(*it)));
        res.extend(first);
    }
    res.sort_unstable();
    Ok(res)
}

fn segment(directory: &Path, first: u64) -> io::Result<File> {
    let name = segment_name(first);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    mounted::open(&directory.join(&name)).map_err(named)
}

/// The lines of a file from its beginning.
#[derive(Debug)]
pub(in crate::ledger) struct Lines<R> {
    reader: R,
    /// How much of the reader's buffer the last line took.
    taken: usize,
    /// The last line, if the buffer did not hold all of it.
    line: Vec<u8>,
    bytes: u64,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Piece<'a> {
    /// A line, without its LF.
    Line(&'a [u8]),
    /// The bytes after the last LF, without the NULs that a file system may leave at the end after
    /// a crash.
    Rest(&'a [u8]),
    /// The beginning of a line that is too long. Reading cannot go on.
    TooLong(&'a [u8]),
}

impl Lines<BufReader<File>> {
    /// The lines of the segment `first` in `directory`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(in crate::ledger) fn open(directory: &Path, first: u64) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(BUFFER_BYTES, segment(directory, first)?)))
    }

    /// The same from the byte number `bytes` on, where a line must begin.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(in crate::ledger) fn open_at(directory: &Path, first: u64, bytes: u64) -> io::Result<Self> {
        let mut file = segment(directory, first)?;
        file.seek(SeekFrom::Start(bytes))?;
        let lines = Self::new(BufReader::with_capacity(BUFFER_BYTES, file));
        Ok(Self { bytes, ..lines })
    }
}

impl<R: BufRead> Lines<R> {
    pub(in crate::ledger) fn new(reader: R) -> Self {
        Self { reader, taken: 0, line: Vec::new(), bytes: 0 }
    }

    /// How many bytes the lines read so far take, with their LF.
    pub(in crate::ledger) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece; `None` at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::ledger) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.reader.consume(mem::take(&mut self.taken));
        let length = memchr::memchr(b'\n', self.reader.fill_buf()?);
        if let Some(length) = length.filter(|it| *it <= LINE_BYTES_MAX) {
            self.taken = length + 1;
            self.bytes += u64::try_from(self.taken).unwrap_or(u64::MAX);
            return Ok(self.reader.fill_buf()?.get(..length).map(Piece::Line));
        }
        self.line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.bytes += u64::try_from(self.line.len()).unwrap_or(u64::MAX);
            self.line.pop();
            return Ok(Some(Piece::Line(&self.line)));
        }
        if LINE_BYTES_MAX < self.line.len() && !self.only_nul_follows()? {
            return Ok(Some(Piece::TooLong(&self.line)));
        }
        let rest = self.line.iter().rposition(|it| *it != 0).map_or(0, |it| it + 1);
        let rest = self.line.get(..rest).unwrap_or_default();
        let too_long = LINE_BYTES_MAX < rest.len();
        Ok(Some(if too_long { Piece::TooLong(rest) } else { Piece::Rest(rest) }))
    }

    fn only_nul_follows(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(true);
            }
            if buffer.iter().any(|it| *it != 0) {
                return Ok(false);
            }
            let read = buffer.len();
            self.reader.consume(read);
        }
    }
}

/// The last line of the segment `first`, without its LF; `None` if the file does not end with a
/// whole line.
///
/// # Errors
/// The file cannot be read.
pub(in crate::ledger) fn last_line(directory: &Path, first: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = mounted::open(&directory.join(segment_name(first)))?;
    let length = file.metadata()?.len();
    let window = u64::try_from(LINE_BYTES_MAX + 2).unwrap_or(u64::MAX).min(length);
    file.seek(SeekFrom::Start(length - window))?;
    let mut end = Vec::new();
    file.take(window).read_to_end(&mut end)?;
    if end.pop() != Some(b'\n') {
        return Ok(None);
    }
    let start = end.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
    Ok(Some(end.split_off(start)))
}

/// The first line of the segment `first`, without its LF; `None` if it has no whole line.
///
/// # Errors
/// The file cannot be read.
pub(in crate::ledger) fn first_line(directory: &Path, first: u64) -> io::Result<Option<Vec<u8>>> {
    Ok(match Lines::open(directory, first)?.next()? {
        Some(Piece::Line(line)) => Some(line.to_vec()),
        Some(Piece::Rest(_) | Piece::TooLong(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], expected: &[Piece<'_>]) {
        let mut lines = Lines::new(BufReader::with_capacity(7, text));
        for it in expected {
            let piece = lines.next().unwrap();
            assert!(piece.as_ref() == Some(it), "at {} of {}", lines.bytes(), text.len());
        }
        if !matches!(expected.last(), Some(Piece::TooLong(_))) {
            assert_eq!(lines.next().unwrap(), None);
        }
    }

    #[test]
    fn files_fall_into_lines() {
        use Piece::{Line, Rest, TooLong};

        check(b"", &[]);
        check(b"\n\n", &[Line(b""), Line(b"")]);
        check(b"a\nb\n", &[Line(b"a"), Line(b"b")]);
        check(b"a\r\nb", &[Line(b"a\r"), Rest(b"b")]);
        check(b"a\n\0\0", &[Line(b"a"), Rest(b"")]);
        check(b"a\n{\0\0", &[Line(b"a"), Rest(b"{")]);
        check(b"a\n\0\0b\n", &[Line(b"a"), Line(b"\0\0b")]);
        let long = [b'x'; LINE_BYTES_MAX + 1];
        check(&long[1..], &[Rest(&long[1..])]);
        check(&long, &[TooLong(&long)]);
        let nul = [0; 3 * LINE_BYTES_MAX];
        check(&nul, &[Rest(b"")]);
        check(&[&nul[..], b"x"].concat(), &[TooLong(&nul[..=LINE_BYTES_MAX])]);
        check(&[&long[1..], b"\n"].concat(), &[Line(&long[1..])]);
    }
}

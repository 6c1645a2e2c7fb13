//! When the work on one image has to be done, asked from inside the loops that do it.
//!
//! A thread that decodes cannot be stopped from outside. So decoders look at the clock themselves: between scans and rows, between
//! strips and tiles, and wherever they read on. It knows no format.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::ImageError;

/// Bytes that are read or made between two looks at the clock: no decoder needs a tenth of a second for what becomes of them, and the
/// look costs nothing beside them.
const PIECE: usize = 16 << 10;

/// The time that one image may take. It belongs to the thread that works on it.
#[derive(Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    /// `None` for one that is too far away to be said.
    end: Cell<Option<Instant>>,
    /// Set when nobody waits for the image any more.
    abandoned: Arc<AtomicBool>,
    /// Bytes until the next look at the clock.
    left: Cell<usize>,
}

impl Deadline {
    /// Ends `limit` from now.
    pub(crate) fn new(limit: Duration) -> Deadline {
        Deadline::unless(limit, Arc::default())
    }

    /// As [`Deadline::new`], and also ends when `abandoned` is set.
    pub(crate) fn unless(limit: Duration, abandoned: Arc<AtomicBool>) -> Deadline {
        Deadline {
            limit,
            end: Cell::new(Instant::now().checked_add(limit)),
            abandoned,
            left: Cell::new(PIECE),
        }
    }

    /// The time begins again: what went by was spent waiting.
    pub(crate) fn begin_again(&self) {
        self.end.set(Instant::now().checked_add(self.limit));
    }

    /// Looks at the clock.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        let over = self.end.get().is_some_and(|end| Instant::now() >= end);
        match over || self.abandoned.load(Ordering::Relaxed) {
            true => Err(ImageError::DecodeTimedOut { limit: self.limit }),
            false => Ok(()),
        }
    }

    /// Looks at the clock where enough bytes have been read or made since the last look.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), ImageError> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(PIECE);
                self.check()
            }
        }
    }
}

/// Encoded bytes for a decoder that reads: they end in an error when the time is over.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Up to where is read without another look at the clock.
    free: usize,
    deadline: &'a Deadline,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8], deadline: &'a Deadline) -> Source<'a> {
        Source {
            bytes,
            at: 0,
            free: 0,
            deadline,
        }
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.free && self.at < self.bytes.len() {
            self.deadline
                .check()
                .map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))?;
            self.free = self.bytes.len().min(self.at + PIECE);
        }
        Ok(self.bytes.get(self.at..self.free).unwrap_or(&[]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => (self.at as u64).checked_add_signed(by),
            SeekFrom::End(by) => (self.bytes.len() as u64).checked_add_signed(by),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        self.at = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        // What was read before may be read again, for which there is time only once.
        self.free = self.at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_until_the_time_is_over() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let deadline = Deadline::new(Duration::from_secs(60));
        let mut source = Source::new(&bytes, &deadline);
        let mut read = Vec::new();
        source.read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        for (to, at) in [
            (SeekFrom::Start(7), 7),
            (SeekFrom::Current(-90_000), 10_000),
            (SeekFrom::End(-3), 99_997),
            (SeekFrom::Start(1 << 40), 1 << 40),
        ] {
            assert_eq!(source.seek(to).unwrap(), at);
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes.get(at as usize..).unwrap_or(&[]));
        }
        assert!(source.seek(SeekFrom::End(-100_001)).is_err());

        let deadline = Deadline::new(Duration::ZERO);
        let error = Source::new(&bytes, &deadline).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(deadline.spend(PIECE).is_ok() && deadline.spend(1).is_err());
    }

    #[test]
    fn what_nobody_waits_for_ends_at_once() {
        let abandoned = Arc::new(AtomicBool::new(false));
        let deadline = Deadline::unless(Duration::MAX, Arc::clone(&abandoned));
        assert!(deadline.check().is_ok());
        abandoned.store(true, Ordering::Relaxed);
        assert!(deadline.check().is_err());
    }
}

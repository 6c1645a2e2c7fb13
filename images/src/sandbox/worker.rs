//! The side that decodes: one picture after the other, from standard input to standard output, which are one socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use super::Confinement;
use super::confine::{close_others, confine};
use super::wire::{MOST_COPIES, SENTENCE, Settings, VERSION, WORD, ask, geometry_read, say};
use crate::copies;
use crate::decode;
use crate::error::{ImageError, panicked};
use crate::limits::Limits;
use crate::memory::Memory;
use crate::work::Work;

/// Decodes pictures for the pool that started this process, until that ends; see [`Sandbox`](crate::Sandbox).
///
/// To be called first in `main`, before threads are started or files opened: it closes all descriptors that it does not know and gives up
/// nearly everything else that a process may do.
pub fn serve_decoding() -> ExitCode {
    close_others();
    // Said to nobody; the failure says it.
    std::panic::set_hook(Box::new(|_| {}));
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let socket = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut settings = [0; Settings::BYTES];
    (&socket).read_exact(&mut settings)?;
    let settings = Settings::read(&settings)
        .ok_or_else(|| io::Error::other("the pool is of another version"))?;
    let limits = Limits {
        max_bytes: settings.max_bytes,
        max_pixels: settings.max_pixels,
        max_memory: settings.max_memory,
        timeout: Duration::from_millis(settings.milliseconds),
    };
    let confinement = confine(&limits, settings.parent)?;
    let mut hello = vec![say::HELLO];
    hello.extend(VERSION.to_le_bytes());
    hello.push(u8::from(confinement == Confinement::SystemCalls));
    (&socket).write_all(&hello)?;
    let memory = Memory::new(limits.max_memory);
    loop {
        let mut what = [0];
        if (&socket).read(&mut what)? == 0 {
            return Ok(());
        }
        answer(what[0], &socket, &limits, &memory)?;
    }
}

fn number(mut socket: &File) -> io::Result<u32> {
    let mut bytes = [0; 4];
    socket.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Reads a request and answers it.
fn answer(what: u8, mut socket: &File, limits: &Limits, memory: &Memory) -> io::Result<()> {
    let wrong = || io::Error::other("the pool says what it never says");
    let geometry = [number(socket)?, number(socket)?, number(socket)?];
    let count = number(socket)? as usize;
    if count > MOST_COPIES {
        return Err(wrong());
    }
    let sides = (0..count).map(|_| number(socket));
    let sides = sides.collect::<io::Result<Vec<u32>>>()?;
    let mut length = [0; 8];
    socket.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > limits.max_bytes {
        return Err(wrong());
    }
    let mut bytes = Vec::with_capacity(length as usize);
    if socket.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let needs = |bytes: u64| {
        if may_take(bytes, socket).is_err() {
            // Nobody waits for the picture any more.
            std::process::exit(1);
        }
    };
    let work = Work::asking(limits, memory, &needs);
    let request = || match what {
        ask::PIXELS => pixels(&bytes, geometry, &work),
        ask::INFO => info(&bytes, limits),
        ask::COPIES => copies_of(&bytes, &sides, &work),
        _ => Ok(None),
    };
    match catch_unwind(AssertUnwindSafe(request)) {
        Ok(Ok(Some(parts))) => parts.iter().try_for_each(|part| socket.write_all(part)),
        Ok(Ok(None)) => Err(wrong()),
        Ok(Err(error)) => socket.write_all(&failed(&error)),
        Err(panic) => socket.write_all(&failed(&panicked(&*panic))),
    }
}

/// Says how much memory the picture needs and waits for leave to take it.
fn may_take(bytes: u64, mut socket: &File) -> io::Result<()> {
    let mut needs = vec![say::NEEDS];
    needs.extend(bytes.to_le_bytes());
    socket.write_all(&needs)?;
    let mut leave = [0];
    socket.read_exact(&mut leave)?;
    match leave[0] {
        ask::GO => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// An answer in parts; `None` where the request was none.
type Parts = Option<Vec<Vec<u8>>>;

fn head(tag: u8, width: u32, height: u32) -> Vec<u8> {
    let mut head = vec![tag];
    head.extend(width.to_le_bytes());
    head.extend(height.to_le_bytes());
    head
}

fn pixels(bytes: &[u8], geometry: [u32; 3], work: &Work<'_>) -> Result<Parts, ImageError> {
    let Some(geometry) = geometry_read(geometry) else {
        return Ok(None);
    };
    let (raster, _held) = decode::raster(bytes, geometry, work)?;
    let pixels = geometry.apply(raster)?;
    let head = head(say::PIXELS, pixels.width, pixels.height);
    Ok(Some(vec![head, pixels.data]))
}

fn info(bytes: &[u8], limits: &Limits) -> Result<Parts, ImageError> {
    let facts = decode::facts(bytes, limits)?;
    let mut head = head(say::INFO, facts.width, facts.height);
    head.extend([facts.format as u8, facts.channels]);
    Ok(Some(vec![head]))
}

fn copies_of(bytes: &[u8], sides: &[u32], work: &Work<'_>) -> Result<Parts, ImageError> {
    let copies = copies::copies(bytes, sides, work)?;
    let mut parts = vec![head(say::COPIES, copies.width, copies.height)];
    for jpeg in copies.jpegs {
        parts.push((jpeg.len() as u32).to_le_bytes().to_vec());
        parts.push(jpeg);
    }
    Ok(Some(parts))
}

fn failed(error: &ImageError) -> Vec<u8> {
    let (word, sentence) = (error.kind(), error.to_string());
    let word = &word.as_bytes()[..word.len().min(WORD)];
    let sentence = &sentence.as_bytes()[..sentence.len().min(SENTENCE)];
    let mut said = vec![say::FAILED];
    for part in [word, sentence] {
        said.extend((part.len() as u32).to_le_bytes());
        said.extend(part);
    }
    said
}

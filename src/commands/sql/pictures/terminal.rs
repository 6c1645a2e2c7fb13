//! How a terminal takes pictures: what its environment says, else what it answers when it is asked for its attributes.
//!
//! It is asked at most once, when there is a picture to show, and not while somebody has typed ahead: the answer comes where the
//! keyboard's letters do.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rustix::termios::{
    OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::sheet::{Cell, Sheet};
use super::sixel::sixels;

/// Bytes of base64 that kitty takes in one piece.
const PIECE: usize = 4096;

/// What asks a terminal for its attributes (DA1); whatever is one answers.
const ASK: &[u8] = b"\x1b[c";

/// The attribute of a terminal that draws sixels.
const SIXEL: &str = "4";

/// Tenths of a second after which a terminal does not answer.
const PATIENCE: u8 = 10;

/// Bytes of an answer.
const LONGEST_ANSWER: usize = 256;

/// How a terminal takes pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands::sql) enum Drawing {
    /// By kitty's protocol, which Ghostty has too.
    Kitty,
    /// By iTerm2's, which WezTerm and mintty have too.
    Iterm2,
    /// As sixels, which many have: foot, xterm, Konsole, Windows Terminal.
    Sixel,
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kitty => "kitty's protocol",
            Self::Iterm2 => "iTerm2's protocol",
            Self::Sixel => "sixels",
        })
    }
}

impl Drawing {
    /// The one that a person names.
    pub(in crate::commands::sql) fn named(name: &str) -> Option<Self> {
        match name {
            "kitty" => Some(Self::Kitty),
            "iterm2" => Some(Self::Iterm2),
            "sixel" => Some(Self::Sixel),
            _ => None,
        }
    }

    /// What to write for a terminal to draw a sheet at the cursor.
    ///
    /// # Errors
    /// When the pixels cannot be encoded.
    pub(super) fn draw(self, sheet: &Sheet) -> io::Result<Vec<u8>> {
        let (columns, rows) = (sheet.columns, sheet.rows);
        let mut drawn = Vec::new();
        match self {
            Self::Sixel => drawn.extend(sixels(sheet).into_bytes()),
            Self::Iterm2 => {
                let png = png(sheet)?;
                write!(
                    drawn,
                    "\x1b]1337;File=inline=1;size={};width={columns};height={rows};preserveAspectRatio=0:{}\x07",
                    png.len(),
                    STANDARD.encode(&png)
                )?;
            }
            Self::Kitty => {
                let text = STANDARD.encode(png(sheet)?);
                let mut pieces = text.as_bytes().chunks(PIECE).peekable();
                let mut keys = format!("a=T,f=100,c={columns},r={rows},");
                while let Some(piece) = pieces.next() {
                    let more = u8::from(pieces.peek().is_some());
                    // Without answers, which would come where the keyboard's letters do.
                    write!(drawn, "\x1b_G{keys}q=2,m={more};")?;
                    drawn.extend_from_slice(piece);
                    drawn.extend_from_slice(b"\x1b\\");
                    keys.clear();
                }
            }
        }
        Ok(drawn)
    }
}

fn png(sheet: &Sheet) -> io::Result<Vec<u8>> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    let written = encoder.write_image(
        &sheet.data,
        sheet.width,
        sheet.height,
        ExtendedColorType::Rgba8,
    );
    written.map_err(io::Error::other)?;
    Ok(png)
}

/// Pixels of a cell: as the terminal says, else DEC's; within what thumbnails are worth.
pub(super) fn cell() -> Cell {
    let (width, height) = match tcgetwinsize(io::stdout()) {
        Ok(size)
            if size.ws_xpixel > 0 && size.ws_ypixel > 0 && size.ws_col > 0 && size.ws_row > 0 =>
        {
            (size.ws_xpixel / size.ws_col, size.ws_ypixel / size.ws_row)
        }
        _ => (10, 20),
    };
    Cell {
        width: u32::from(width.clamp(4, 16)),
        height: u32::from(height.clamp(8, 32)),
    }
}

/// How the terminal takes pictures: `Some(None)` is not at all, `None` that it could not be asked now.
pub(super) fn drawing() -> Option<Option<Drawing>> {
    match told(|name| std::env::var(name).ok()) {
        Told::Plain => Some(None),
        Told::By(drawing) => Some(Some(drawing)),
        Told::Nothing => match answer() {
            Ok(Some(answer)) => Some(has_sixels(&answer).then_some(Drawing::Sixel)),
            Ok(None) => None,
            // It is no terminal after all.
            Err(_) => Some(None),
        },
    }
}

/// What the environment tells.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// That there are letters alone.
    Plain,
    /// How.
    By(Drawing),
    /// Nothing: the terminal is to be asked.
    Nothing,
}

fn told(variable: impl Fn(&str) -> Option<String>) -> Told {
    let is = |name: &str, values: &[&str]| {
        variable(name).is_some_and(|value| values.contains(&value.as_str()))
    };
    let term = variable("TERM").unwrap_or_default();
    if term.is_empty() || term == "dumb" || term == "linux" {
        return Told::Plain;
    }
    // Inside of tmux and screen the variables are those of the terminal outside, which they do not hand pictures on to.
    if variable("TMUX").is_some() || term.starts_with("screen") || term.starts_with("tmux") {
        return Told::Nothing;
    }
    if ["xterm-kitty", "xterm-ghostty"].contains(&term.as_str())
        || variable("KITTY_WINDOW_ID").is_some()
        || is("TERM_PROGRAM", &["ghostty"])
    {
        return Told::By(Drawing::Kitty);
    }
    if is("TERM_PROGRAM", &["iTerm.app", "WezTerm", "mintty"]) || is("LC_TERMINAL", &["iTerm2"]) {
        return Told::By(Drawing::Iterm2);
    }
    Told::Nothing
}

/// Whether a terminal's attributes, `ESC [ ? 62 ; 4 ; ... c`, have sixels among them.
fn has_sixels(answer: &str) -> bool {
    let attributes = answer.split_once("\x1b[?").map_or("", |(_, rest)| rest);
    let attributes = attributes.split_once('c').map_or("", |(all, _)| all);
    // The first is the kind of terminal.
    attributes.split(';').skip(1).any(|one| one == SIXEL)
}

/// What the terminal answers; nothing after a while, `None` where somebody has typed ahead.
fn answer() -> io::Result<Option<String>> {
    let keyboard = io::stdin();
    let raw = Raw::begin(&keyboard)?;
    if rustix::io::ioctl_fionread(&keyboard)? > 0 {
        return Ok(None);
    }
    let mut screen = io::stdout();
    screen.write_all(ASK)?;
    screen.flush()?;
    let mut answer = Vec::new();
    while answer.len() < LONGEST_ANSWER && answer.last() != Some(&b'c') {
        let mut letter = [0];
        if rustix::io::read(&keyboard, &mut letter)? == 0 {
            break;
        }
        answer.push(letter[0]);
    }
    drop(raw);
    Ok(Some(String::from_utf8_lossy(&answer).into_owned()))
}

/// A keyboard whose letters come as they are typed, unseen, and for which nobody waits long; until it is dropped.
struct Raw<'a> {
    keyboard: &'a io::Stdin,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn begin(keyboard: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(keyboard.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = PATIENCE;
        tcsetattr(keyboard.as_fd(), OptionalActions::Now, &raw)?;
        Ok(Self { keyboard, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(self.keyboard.as_fd(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_and_a_multiplexer_is_asked() {
        for (variables, expected) in [
            (&[("TERM", "xterm-kitty")][..], Told::By(Drawing::Kitty)),
            (
                &[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")],
                Told::By(Drawing::Kitty),
            ),
            (
                &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")],
                Told::By(Drawing::Iterm2),
            ),
            (
                &[("TERM", "xterm-256color"), ("LC_TERMINAL", "iTerm2")],
                Told::By(Drawing::Iterm2),
            ),
            (
                &[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")],
                Told::Nothing,
            ),
            (
                &[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux")],
                Told::Nothing,
            ),
            (&[("TERM", "foot")], Told::Nothing),
            (&[("TERM", "dumb"), ("KITTY_WINDOW_ID", "1")], Told::Plain),
            (&[], Told::Plain),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(told(variable), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_terminal_says_by_its_attributes_whether_it_draws_sixels() {
        assert!(has_sixels("\x1b[?62;4;22c"));
        assert!(has_sixels("\x1b[?63;1;2;4c"));
        // The first number is the kind of terminal.
        assert!(!has_sixels("\x1b[?4c"));
        assert!(!has_sixels("\x1b[?62;22;44c"));
        assert!(!has_sixels("") && !has_sixels("\x1b[?62;4"));
    }

    #[test]
    fn kitty_takes_pieces_and_iterm2_one() {
        let sheet = Sheet {
            width: 64,
            height: 64,
            data: (0..64 * 64 * 4).map(|n| (n * 7919 % 251) as u8).collect(),
            columns: 16,
            rows: 8,
        };
        let text = |drawing: Drawing| String::from_utf8(drawing.draw(&sheet).unwrap()).unwrap();
        let kitty = text(Drawing::Kitty);
        assert!(kitty.starts_with("\x1b_Ga=T,f=100,c=16,r=8,q=2,m=1;"));
        let pieces: Vec<&str> = kitty.split("\x1b\\").collect();
        let (last, others) = pieces[..pieces.len() - 1].split_last().unwrap();
        assert!(last.starts_with("\x1b_Gq=2,m=0;") && !others.is_empty());
        let data = |piece: &&str| piece.split_once(';').unwrap().1.to_owned();
        assert!(others.iter().all(|piece| data(piece).len() == PIECE));
        let joined: String = pieces[..pieces.len() - 1].iter().map(data).collect();
        let iterm2 = text(Drawing::Iterm2);
        let (head, tail) = iterm2.split_once(':').unwrap();
        assert!(head.contains("width=16;height=8"), "{head}");
        assert_eq!(tail.trim_end_matches('\x07'), joined);
        let png = STANDARD.decode(joined).unwrap();
        let back = image::load_from_memory(&png).unwrap().into_rgba8();
        assert_eq!(back.into_raw(), sheet.data);
    }
}

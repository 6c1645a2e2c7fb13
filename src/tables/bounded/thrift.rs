//! Thrift's compact protocol as far as it takes to count: fields are read one by one, and what is not wanted is skipped without recursion.

/// Bytes that are no Thrift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its Thrift structures are broken")]
pub struct Broken;

/// Deepest nesting of what is skipped; readers of Parquet allow 64 too.
const DEEPEST: usize = 64;

/// What a field or an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Byte,
    /// I16, I32 and I64 are written alike.
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Kind {
    fn of(code: u8) -> Result<Self, Broken> {
        Ok(match code {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            4..=6 => Self::Int,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            _ => return Err(Broken),
        })
    }
}

/// A list's elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) of: Kind,
    pub(super) length: u64,
}

/// What is left of a structure while it is skipped.
enum Open {
    Struct,
    List(Kind, u64),
    Map(Kind, Kind, u64, bool),
}

/// A place in bytes.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes before this place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Broken> {
        let left = (self.bytes.len() - self.at) as u64;
        if bytes > left {
            return Err(Broken);
        }
        self.at += bytes as usize;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    /// A whole number.
    pub(super) fn int(&mut self) -> Result<i64, Broken> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a structure after the field `last`, which becomes this one; `None` at its end.
    pub(super) fn field(&mut self, last: &mut i64) -> Result<Option<Kind>, Broken> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = match head >> 4 {
            0 => self.int()?,
            step => last.checked_add(i64::from(step)).ok_or(Broken)?,
        };
        Kind::of(head & 0x0F).map(Some)
    }

    /// The beginning of a list.
    pub(super) fn list(&mut self) -> Result<List, Broken> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        // Every element has a byte at least, so that this is more than the bytes can hold.
        if length > (self.bytes.len() - self.at) as u64 {
            return Err(Broken);
        }
        Ok(List {
            of: Kind::of(head & 0x0F)?,
            length,
        })
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: Kind) -> Result<(), Broken> {
        // A field's own truth value stands in its head.
        if kind == Kind::Bool {
            return Ok(());
        }
        let mut open = Vec::new();
        self.enter(kind, &mut open)?;
        while let Some(inner) = open.last_mut() {
            let next = match inner {
                Open::Struct => match self.field(&mut 0)? {
                    // Of truth values in a structure nothing follows.
                    Some(Kind::Bool) => continue,
                    next => next,
                },
                Open::List(_, 0) | Open::Map(.., 0, true) => None,
                Open::List(of, left) => {
                    *left -= 1;
                    Some(*of)
                }
                Open::Map(key, _, left, is_key @ true) => {
                    *left -= 1;
                    *is_key = false;
                    Some(*key)
                }
                Open::Map(_, value, _, is_key) => {
                    *is_key = true;
                    Some(*value)
                }
            };
            match next {
                Some(kind) => self.enter(kind, &mut open)?,
                None => {
                    open.pop();
                }
            }
            if open.len() > DEEPEST {
                return Err(Broken);
            }
        }
        Ok(())
    }

    /// Passes over a plain value, or begins one that has others in it.
    fn enter(&mut self, kind: Kind, open: &mut Vec<Open>) -> Result<(), Broken> {
        match kind {
            Kind::Bool | Kind::Byte => self.pass(1)?,
            Kind::Int => drop(self.varint()?),
            Kind::Double => self.pass(8)?,
            Kind::Binary => {
                let length = self.varint()?;
                self.pass(length)?;
            }
            Kind::List => {
                let list = self.list()?;
                open.push(Open::List(list.of, list.length));
            }
            Kind::Map => {
                let length = self.varint()?;
                if length > 0 {
                    let kinds = self.byte()?;
                    let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0F)?);
                    open.push(Open::Map(key, value, length, true));
                }
            }
            Kind::Struct => open.push(Open::Struct),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_passed_over() {
        // {1: i32 5, 2: list<i32> [1, 2], 3: true, 4: {1: "ab"}, 5: {"k": 1}} and then one more byte.
        let bytes = [
            0x15, 10, 0x19, 0x25, 2, 4, 0x11, 0x1C, 0x18, 2, b'a', b'b', 0, 0x1B, 1, 0x85, 1, b'k',
            2, 0, 9,
        ];
        let mut reader = Reader::new(&bytes);
        let mut last = 0;
        while let Some(kind) = reader.field(&mut last).unwrap() {
            reader.skip(kind).unwrap();
        }
        assert_eq!((last, reader.at()), (5, bytes.len() - 1));
        for end in 0..bytes.len() - 1 {
            let mut reader = Reader::new(&bytes[..end]);
            let mut walk = || {
                let mut last = 0;
                while let Some(kind) = reader.field(&mut last)? {
                    reader.skip(kind)?;
                }
                Ok::<_, Broken>(())
            };
            assert_eq!(walk(), Err(Broken), "{end}");
        }
    }

    #[test]
    fn nesting_and_lengths_are_bounded() {
        let deep = [0x1C; 1000];
        let mut reader = Reader::new(&deep);
        let kind = reader.field(&mut 0).unwrap().unwrap();
        assert_eq!(reader.skip(kind), Err(Broken));
        // A list of 2^32 elements in five bytes.
        let long = [0xF5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
        assert!(Reader::new(&long).list().is_err());
    }
}

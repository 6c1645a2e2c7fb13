//! Keys and values that grow behind what is there.
//!
//! An answer in words adds a token at a time to every layer. Were both put together anew each time, all that was there before would be
//! copied with each word; so they lie in memory that has room for more, and attention reads the part that is filled.

use candle_core::{Result, Tensor};

use super::attention::Keys;

/// Keys and values of `tokens` tokens at the beginning of `[batch, room, width]` each. Not to be cloned: both would grow into the same
/// memory.
#[derive(Debug)]
pub(crate) struct Room {
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    pub(super) tokens: usize,
}

impl Room {
    /// What is there, for attention to read where it lies.
    pub(crate) fn keys(&self) -> Result<Keys> {
        Ok(Keys {
            k: self.k.narrow(1, 0, self.tokens)?,
            v: self.v.narrow(1, 0, self.tokens)?,
        })
    }

    /// These behind what is there, or by themselves: where they lie within other numbers, in memory of their own.
    pub(super) fn append(room: Option<Self>, keys: Keys) -> Result<Self> {
        let added = keys.k.dim(1)?;
        let Some(room) = room else {
            return Ok(Self {
                k: keys.k.contiguous()?,
                v: keys.v.contiguous()?,
                tokens: added,
            });
        };
        let mut room = room.with_room(added)?;
        room.k.slice_set(&keys.k.contiguous()?, 1, room.tokens)?;
        room.v.slice_set(&keys.v.contiguous()?, 1, room.tokens)?;
        room.tokens += added;
        Ok(room)
    }

    /// The same with room for so many more. Takes a quarter more than is there, so that few additions find no room.
    pub(super) fn with_room(self, added: usize) -> Result<Self> {
        let (batch, room, width) = self.k.dims3()?;
        if self.tokens + added <= room {
            return Ok(self);
        }
        let room = (self.tokens + added.max(self.tokens / 4)).next_multiple_of(16);
        let larger = |old: &Tensor| -> Result<Tensor> {
            let new = Tensor::zeros((batch, room, width), old.dtype(), old.device())?;
            new.slice_set(old, 1, 0)?;
            Ok(new)
        };
        Ok(Self {
            k: larger(&self.k)?,
            v: larger(&self.v)?,
            tokens: self.tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_is_added_stands_behind_what_was_there() {
        let random = |tokens| Tensor::rand(-1_f32, 1.0, (3, tokens, 4), &Device::Cpu).unwrap();
        let mut room = None;
        let (mut k, mut v) = (Vec::new(), Vec::new());
        let mut places = Vec::new();
        for tokens in [17, 1, 1, 2, 40, 1, 1] {
            let keys = Keys {
                k: random(tokens),
                v: random(tokens),
            };
            k.push(keys.k.clone());
            v.push(keys.v.clone());
            let grown = Room::append(room, keys).unwrap();
            let there = grown.keys().unwrap();
            for (there, parts) in [(&there.k, &k), (&there.v, &v)] {
                let parts = Tensor::cat(parts, 1).unwrap();
                assert_eq!(
                    there.contiguous().unwrap().to_vec3::<f32>().unwrap(),
                    parts.to_vec3::<f32>().unwrap()
                );
            }
            places.push(grown.k.id());
            room = Some(grown);
        }
        // Most additions move nothing.
        places.dedup();
        assert_eq!(places.len(), 3, "{places:?}");
    }
}

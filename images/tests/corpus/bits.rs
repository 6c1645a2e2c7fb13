//! Bits, checksums and deflate streams (RFC 1950 and 1951), as far as the encoders of this folder need them.

/// Bits filled from the lowest, as deflate, GIF and VP8L count them.
#[derive(Default)]
pub(crate) struct LowFirst {
    bytes: Vec<u8>,
    used: u32,
}

impl LowFirst {
    /// Appends the low `count` bits of `value`.
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Bits filled from the highest, as JPEG counts them, with a zero stuffed behind each 0xFF.
#[derive(Default)]
pub(crate) struct HighFirst {
    bytes: Vec<u8>,
    current: u8,
    used: u32,
}

impl HighFirst {
    /// Appends the low `count` bits of `value`, the highest of them first.
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.current = self.current << 1 | (value >> bit & 1) as u8;
            self.used += 1;
            if self.used == 8 {
                self.bytes.push(self.current);
                if self.current == 0xFF {
                    self.bytes.push(0);
                }
                (self.current, self.used) = (0, 0);
            }
        }
    }

    /// Fills the last byte with ones.
    pub(crate) fn align(&mut self) {
        while self.used != 0 {
            self.put(1, 1);
        }
    }

    /// Appends two bytes that are no data, between aligned data.
    pub(crate) fn marker(&mut self, marker: u8) {
        self.align();
        self.bytes.extend([0xFF, marker]);
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.align();
        self.bytes
    }
}

/// CRC-32 as PNG has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0u32; 256];
    for (n, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(n as u32, |c, _| (c >> 1) ^ (0xEDB8_8320 * (c & 1)));
    }
    !bytes.iter().fold(!0, |crc: u32, &b| {
        crc >> 8 ^ table[(crc as u8 ^ b) as usize]
    })
}

/// `data` as a zlib stream that is not compressed.
pub(crate) fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xFFFF).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xFF, 0xFF]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// `length` zero bytes as a zlib stream, a thousandth of their size: each repeat of 258 bytes takes two bits.
pub(crate) fn zlib_zeros(length: u64) -> Vec<u8> {
    let mut bits = LowFirst::default();
    // The last block, with codes of its own: 286 literals and lengths, one distance, 18 code lengths.
    bits.put(1, 1);
    bits.put(2, 2);
    bits.put(29, 5);
    bits.put(0, 5);
    bits.put(14, 4);
    // Code lengths in deflate's order (16, 17, 18, 0, 8, 7, ... 2, 14, 1): 18 takes one bit, 2 and 1 take two.
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.put(length, 3);
    }
    let (run, one, two) = ((0, 1), (0b01, 2), (0b11, 2));
    let mut code = |(code, count): (u32, u32), zeros: Option<u32>| {
        bits.put(code, count);
        if let Some(zeros) = zeros {
            bits.put(zeros - 11, 7);
        }
    };
    // Two bits for a literal zero and the end, one for a length of 258, one for the distance 1.
    code(two, None);
    code(run, Some(138));
    code(run, Some(117));
    code(two, None);
    code(run, Some(28));
    code(one, None);
    code(one, None);
    let literal = |bits: &mut LowFirst| bits.put(0b01, 2);
    let mut left = length;
    if left > 0 {
        literal(&mut bits);
        left -= 1;
    }
    for _ in 0..left / 258 {
        bits.put(0, 2);
    }
    for _ in 0..left % 258 {
        literal(&mut bits);
    }
    bits.put(0b11, 2);
    let mut out = vec![0x78, 0x01];
    out.extend(bits.bytes());
    out.extend(((length % 65521) as u32 * 65536 + 1).to_be_bytes());
    out
}

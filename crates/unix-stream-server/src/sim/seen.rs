//! Which states have been visited: a set of 128-bit hashes, 16 bytes a state instead of the whole of it.
//!
//! Among ten million states two share a hash with a probability of about 10^-25.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The set itself takes the hashes as they are.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only 128-bit hashes are looked up")
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

pub(super) type Seen = HashSet<u128, BuildHasherDefault<AsItIs>>;

/// Two lanes of multiply and fold, as wyhash does it.
struct Wide(u64, u64);

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, 0x9e37_79b9_7f4a_7c15);
        self.1 = fold(self.1.rotate_left(23) ^ word ^ 0xd1b5_4a32_d192_ed03, 0xaef1_7502_108e_f2d9);
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

pub(super) fn hash(value: &impl Hash) -> u128 {
    let mut wide = Wide(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    value.hash(&mut wide);
    // A last round, so that the last word reaches every bit of both.
    u128::from(fold(wide.0, 0xa409_3822_299f_31d1)) << 64 | u128::from(fold(wide.1, 0x082e_fa98_ec4e_6c89))
}

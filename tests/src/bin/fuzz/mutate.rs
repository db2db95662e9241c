//! Damages valid inputs the ways a hostile or broken peer would.

use headwater_tests::random::Rng;

/// A source of inputs.
pub struct Mutator {
    rng: Rng,
    seeds: Vec<Vec<u8>>,
}

/// Values that sit at the edges of lengths, counts and registers.
const EDGES: [u8; 10] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x20];

/// Long varints: 2^35, 2^40, 2^63, 2^64 - 1, and one that never ends.
const VARINTS: [&[u8]; 5] = [
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff; 24],
];

const INPUT_BYTES_MAX: usize = 1 << 16;

impl Mutator {
    /// Mutates these, always the same way for one `seed`.
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self { rng: Rng::new(seed), seeds }
    }

    /// A valid input with one to eight damages.
    pub fn next_input(&mut self) -> Vec<u8> {
        let pick = self.at(self.seeds.len());
        let mut input = self.seeds[pick].clone();
        for _ in 0..=self.rng.below(8).min(self.rng.below(8)) {
            self.damage(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    /// Uniform in `0..len`, 0 when there is nothing.
    fn at(&mut self, len: usize) -> usize {
        if len == 0 { 0 } else { self.rng.below(len as u64) as usize }
    }

    fn damage(&mut self, input: &mut Vec<u8>) {
        let at = self.at(input.len());
        match self.rng.below(9) {
            0 if !input.is_empty() => input[at] ^= 1 << self.rng.below(8),
            1 if !input.is_empty() => input[at] = self.rng.next_u64() as u8,
            2 if !input.is_empty() => input[at] = EDGES[self.rng.below(EDGES.len() as u64) as usize],
            3 if !input.is_empty() => input[at] = input[at].wrapping_add(1 + 254 * self.rng.below(2) as u8),
            4 => input.truncate(at),
            5 => self.splice(input, at),
            6 => {
                let varint = VARINTS[self.at(VARINTS.len())];
                let end = (at + 1).min(input.len());
                input.splice(at..end, varint.iter().copied());
            }
            7 => {
                let end = at + self.at(input.len() - at);
                input.drain(at..end);
            }
            _ => {
                let end = (at + 1 + self.at(16)).min(input.len());
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
        }
    }

    /// A piece of another valid input.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = self.at(self.seeds.len());
        let from = self.at(self.seeds[other].len());
        let to = from + self.at(self.seeds[other].len() - from);
        let piece = self.seeds[other][from..to].to_vec();
        let end = (at + self.at(piece.len() + 1)).min(input.len());
        input.splice(at..end, piece);
    }
}

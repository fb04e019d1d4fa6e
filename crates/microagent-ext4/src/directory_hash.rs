//! The hash by which an indexed directory is ordered: half MD4 over the name's bytes, unsigned.
//!
//! The kernel looks names up with it, so it must agree to the bit; the superblock says `unsigned`.

const ROUND_2: u32 = 0x5a82_7999;
const ROUND_3: u32 = 0x6ed9_eba1;
/// The one value that means "the end" to readers.
const END_OF_DIRECTORY: u32 = 0x7fff_ffff;

/// Major hash (its lowest bit is free for the index) and minor hash of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameHash {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// Hashes `name`, seeded as the superblock says.
pub(crate) fn hash(name: &[u8], seed: [u32; 4]) -> NameHash {
    let mut state = seed;
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = &rest[rest.len().min(32)..];
    }
    let mut major = state[1] & !1;
    if major == END_OF_DIRECTORY << 1 {
        major = (END_OF_DIRECTORY - 1) << 1;
    }
    NameHash {
        major,
        minor: state[2],
    }
}

/// Up to 32 bytes as eight words, filled up with the length that is left.
fn words(bytes: &[u8]) -> [u32; 8] {
    let len = u32::try_from(bytes.len()).expect("a name is short");
    let pad = (len | len << 8) & 0xffff;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
        for byte in chunk {
            *word = word.wrapping_shl(8).wrapping_add(u32::from(*byte));
        }
    }
    words
}

fn transform(state: &mut [u32; 4], words: &[u32; 8]) {
    let select = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let [mut a, mut b, mut c, mut d] = *state;
    let mut round =
        |mix: &dyn Fn(u32, u32, u32) -> u32, add: u32, order: [usize; 8], turns: [u32; 4]| {
            for (step, word) in order.into_iter().enumerate() {
                let sum = a
                    .wrapping_add(mix(b, c, d))
                    .wrapping_add(words[word])
                    .wrapping_add(add)
                    .rotate_left(turns[step % 4]);
                (a, b, c, d) = (d, sum, b, c);
            }
        };
    round(&select, 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]);
    round(&majority, ROUND_2, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]);
    round(&parity, ROUND_3, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]);
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

//! Equal nodes found by what they are, so that they can be one.

use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};

use rustc_hash::{FxBuildHasher, FxHashMap};

/// The numbers of nodes by the hashes of what they are. What they are is not kept a second time: the nodes are there to
/// compare with.
#[derive(Clone, Debug, Default)]
pub struct Equal {
    /// By half a hash: where many nodes are, most of the time goes into memory that is far away.
    numbers: FxHashMap<u32, u32>,
}

impl Equal {
    /// With room for so many nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        Self { numbers: FxHashMap::with_capacity_and_hasher(nodes, FxBuildHasher) }
    }

    /// The number of a node of this key, if there is one that `is_equal`; else `new` is the key's number from now on.
    pub fn find_or_insert(&mut self, key: impl Hash, new: usize, is_equal: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hash = (FxBuildHasher.hash_one(key) >> 32) as u32;
        loop {
            match self.numbers.entry(hash) {
                Entry::Occupied(entry) if is_equal(*entry.get() as usize) => return Some(*entry.get() as usize),
                Entry::Occupied(_) => hash = hash.wrapping_add(1),
                Entry::Vacant(entry) => {
                    entry.insert(u32::try_from(new).expect("there are fewer than 2^32 nodes"));
                    return None;
                }
            }
        }
    }
}

//! A slab whose keys never name another value, although slots are reused.

use slab::Slab;

/// Memory for so many slots is kept in any case.
const KEPT: usize = 1024;

/// Names one value in one slot, for ever: a slot's generation changes when its value is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The slot.
    pub index: u32,
    /// Which of the slot's values, one after the other.
    pub generation: u32,
}

/// Values in reusable slots.
#[derive(Debug)]
pub struct Slots<T> {
    slab: Slab<T>,
    /// One entry for each slot ever used.
    generations: Vec<u32>,
    /// Values that were removed since memory was last given back.
    left: usize,
}

impl<T> Slots<T> {
    /// No slots yet.
    pub fn new() -> Slots<T> {
        Slots { slab: Slab::new(), generations: Vec::new(), left: 0 }
    }

    /// The token the next [`insert`](Slots::insert) will return.
    pub fn next_token(&self) -> Token {
        let key = self.slab.vacant_key();
        let generation = self.generations.get(key).copied().unwrap_or(0);
        Token { index: u32::try_from(key).expect("slots are bounded by descriptors"), generation }
    }

    /// Moves `value` into a free slot.
    pub fn insert(&mut self, value: T) -> Token {
        let token = self.next_token();
        if token.index as usize == self.generations.len() {
            self.generations.push(0);
        }
        self.slab.insert(value);
        token
    }

    /// Removes the value; its token never names anything again.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        if !self.contains(token) {
            return None;
        }
        let generation = &mut self.generations[token.index as usize];
        *generation = generation.wrapping_add(1);
        let tenant = self.slab.remove(token.index as usize);
        self.left += 1;
        self.shrink();
        Some(tenant)
    }

    /// Gives back the memory behind the last value when seven eighths of the slots are empty. That takes a step for each
    /// slot, so it is tried again only when as many values were removed as are still there.
    fn shrink(&mut self) {
        let (len, capacity) = (self.slab.len(), self.slab.capacity());
        if len <= capacity / 8 && self.left >= len && capacity > KEPT {
            self.slab.shrink_to_fit();
            self.left = 0;
        }
    }

    /// The value that `token` names, if it is still here.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        if self.generations.get(token.index as usize) != Some(&token.generation) {
            return None;
        }
        self.slab.get_mut(token.index as usize)
    }

    /// The value that `token` names, if it is still here.
    pub fn get(&self, token: Token) -> Option<&T> {
        if self.generations.get(token.index as usize) != Some(&token.generation) {
            return None;
        }
        self.slab.get(token.index as usize)
    }

    /// Whether the value that `token` names is still here.
    pub fn contains(&self, token: Token) -> bool {
        self.get(token).is_some()
    }

    /// The token of the value that is in slot `index` now.
    pub fn tenant(&self, index: u32) -> Option<Token> {
        let generation = *self.generations.get(index as usize)?;
        self.slab.contains(index as usize).then_some(Token { index, generation })
    }

    /// Every value with its token.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slab.iter().map(|(key, value)| (Token { index: key as u32, generation: self.generations[key] }, value))
    }

    /// Every value with its token, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let generations = &self.generations;
        self.slab.iter_mut().map(|(key, value)| (Token { index: key as u32, generation: generations[key] }, value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_reaches_its_slots_next_tenant() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index, first.index, "the slot is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
        assert_eq!(slots.tenant(second.index), Some(second));
    }

    #[test]
    fn when_most_have_left_their_memory_is_given_back_and_no_token_is_used_again() {
        let mut slots = Slots::new();
        let tokens: Vec<_> = (0..100 * KEPT).map(|value| slots.insert(value)).collect();
        let crowded = slots.slab.capacity();
        for token in &tokens[1..] {
            slots.remove(*token);
        }
        assert!(crowded >= 100 * KEPT && slots.slab.capacity() <= KEPT, "{}", slots.slab.capacity());
        assert_eq!(slots.get(tokens[0]), Some(&0), "whoever stays stays where it is");
        let again: Vec<_> = (1..100).map(|value| slots.insert(value)).collect();
        assert!(again.iter().all(|token| !tokens.contains(token)));
        assert!(tokens[1..].iter().all(|token| slots.get(*token).is_none()));
    }

    #[test]
    fn the_next_token_is_foretold() {
        let mut slots = Slots::new();
        for round in 0..3 {
            let foretold = slots.next_token();
            assert_eq!(slots.insert(round), foretold);
            assert_eq!(slots.remove(foretold), Some(round));
        }
    }
}

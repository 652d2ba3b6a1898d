//! A persistent list. A new version copies only the path to the changed element. Access by index takes a few steps.

use std::{iter, mem, ops::Range, sync::Arc};

/// The elements of a full leaf. Every change copies one leaf.
const LEAF: usize = 32;
/// The base-2 logarithm of the children of a full branch.
const BRANCH_BITS: u32 = 6;
const BRANCH: usize = 1 << BRANCH_BITS;

/// The last leaf is kept apart, so that pushing and popping copies only that leaf. All others are full leaves of a tree.
#[derive(Clone, Debug)]
pub(super) struct Vector<T> {
    tree: Option<Node<T>>,
    /// The height of the tree: the number of branches above each leaf.
    height: u32,
    /// The number of leaves in the tree.
    leaves: usize,
    tail: Arc<[T]>,
}

#[derive(Clone, Debug)]
enum Node<T> {
    Leaf(Arc<[T]>),
    Branch(Arc<[Self]>),
}

/// The index of the child that leads to a leaf, in a branch with this many levels of branches below it.
fn slot(leaf: usize, height: u32) -> usize {
    (leaf >> (BRANCH_BITS * height)) % BRANCH
}

impl<T> Default for Vector<T> {
    fn default() -> Self {
        Self { tree: None, height: 0, leaves: 0, tail: Arc::default() }
    }
}

impl<T> Vector<T> {
    pub(super) fn len(&self) -> usize {
        self.leaves * LEAF + self.tail.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.leaf(index / LEAF).get(index % LEAF)
    }

    /// The elements at these indexes. The range may extend beyond the end.
    pub(super) fn range(&self, places: Range<usize>) -> impl Iterator<Item = &T> {
        let end = places.end.min(self.len());
        let start = places.start.min(end);
        (start / LEAF..end.div_ceil(LEAF)).flat_map(move |leaf| {
            let first = leaf * LEAF;
            let part = start.saturating_sub(first)..(end - first).min(LEAF);
            self.leaf(leaf).get(part).unwrap_or_default()
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.range(0..self.len())
    }

    /// The elements of a leaf, by its index; empty beyond the last leaf.
    #[inline]
    fn leaf(&self, leaf: usize) -> &[T] {
        if leaf >= self.leaves {
            return if leaf == self.leaves { &self.tail } else { &[] };
        }
        let (mut node, mut height) = (self.tree.as_ref(), self.height);
        while let Some(Node::Branch(children)) = node {
            height -= 1;
            node = children.get(slot(leaf, height));
        }
        match node {
            Some(Node::Leaf(elements)) => elements,
            _ => &[],
        }
    }
}

impl<T: Clone> Vector<T> {
    pub(super) fn push(&mut self, element: T) {
        if self.tail.len() == LEAF {
            let leaf = mem::take(&mut self.tail);
            self.push_leaf(leaf);
        }
        self.tail = self.tail.iter().cloned().chain(iter::once(element)).collect();
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        if self.tail.is_empty() {
            self.tail = self.pop_leaf()?;
        }
        let (last, rest) = self.tail.split_last()?;
        let last = last.clone();
        self.tail = rest.into();
        Some(last)
    }

    /// Replaces the element at an index. Does nothing beyond the end.
    pub(super) fn set(&mut self, index: usize, element: T) {
        let leaf = index / LEAF;
        let elements = if leaf < self.leaves {
            let (mut node, mut height) = (self.tree.as_mut(), self.height);
            while let Some(Node::Branch(children)) = node {
                height -= 1;
                node = Arc::make_mut(children).get_mut(slot(leaf, height));
            }
            let Some(Node::Leaf(elements)) = node else { return };
            elements
        } else {
            &mut self.tail
        };
        let place = index - leaf.min(self.leaves) * LEAF;
        if let Some(place) = Arc::make_mut(elements).get_mut(place) {
            *place = element;
        }
    }

    fn push_leaf(&mut self, elements: Arc<[T]>) {
        self.tree = Some(match self.tree.take() {
            None => Node::Leaf(elements),
            // The tree is full, so it gets another level.
            Some(tree) if self.leaves == 1 << (BRANCH_BITS * self.height) => {
                let beside = Node::over(elements, self.height);
                self.height += 1;
                Node::Branch([tree, beside].into())
            }
            Some(mut tree) => {
                tree.push(elements, self.leaves, self.height);
                tree
            }
        });
        self.leaves += 1;
    }

    fn pop_leaf(&mut self) -> Option<Arc<[T]>> {
        let elements = match self.tree.as_mut()? {
            Node::Leaf(_) => match self.tree.take()? {
                Node::Leaf(elements) => elements,
                Node::Branch(_) => return None,
            },
            Node::Branch(children) => {
                let elements = Node::pop(children)?;
                if let [only] = &**children {
                    let only = only.clone();
                    (self.tree, self.height) = (Some(only), self.height - 1);
                }
                elements
            }
        };
        self.leaves -= 1;
        Some(elements)
    }
}

impl<T: Clone> Node<T> {
    /// A leaf below this many branches.
    fn over(elements: Arc<[T]>, height: u32) -> Self {
        (0..height).fold(Self::Leaf(elements), |node, _| Self::Branch([node].into()))
    }

    /// Adds a leaf after the last one. The node has this height and room for the leaf.
    fn push(&mut self, elements: Arc<[T]>, leaf: usize, height: u32) {
        let Self::Branch(children) = self else { return };
        match slot(leaf, height - 1) {
            place if place < children.len() => {
                Arc::make_mut(children)[place].push(elements, leaf, height - 1);
            }
            _ => {
                let child = Self::over(elements, height - 1);
                *children = children.iter().cloned().chain(iter::once(child)).collect();
            }
        }
    }

    /// Removes the last leaf, and the branches that have no other leaf.
    fn pop(children: &mut Arc<[Self]>) -> Option<Arc<[T]>> {
        let elements = match children.last()? {
            Self::Leaf(elements) => Arc::clone(elements),
            Self::Branch(_) => {
                let Some(Self::Branch(below)) = Arc::make_mut(children).last_mut() else { return None };
                let elements = Self::pop(below)?;
                if !below.is_empty() {
                    return Some(elements);
                }
                elements
            }
        };
        let (_, rest) = children.split_last()?;
        *children = rest.into();
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// More than a tree of height 2 holds.
    const MANY: usize = LEAF * (BRANCH * BRANCH + 2) + 5;

    fn check(vector: &Vector<usize>, plain: &[usize]) {
        assert_eq!(vector.len(), plain.len());
        assert!(vector.iter().eq(plain));
        for place in [0, 1, plain.len() / 2, plain.len().saturating_sub(1), plain.len(), plain.len() + LEAF] {
            assert_eq!(vector.get(place), plain.get(place));
        }
    }

    #[test]
    fn a_vector_grows_and_shrinks_through_every_height() {
        let (mut vector, mut plain) = (Vector::default(), Vec::new());
        for element in 0..MANY {
            vector.push(element);
            plain.push(element);
            if element % 4001 == 0 {
                check(&vector, &plain);
            }
        }
        check(&vector, &plain);
        assert_eq!(vector.height, 3);
        let full = vector.clone();
        for left in (0..MANY).rev() {
            assert_eq!(vector.pop(), plain.pop());
            if left % 4001 == 0 {
                check(&vector, &plain);
            }
        }
        assert_eq!((vector.pop(), vector.height, vector.tree.is_none()), (None, 0, true));
        check(&full, &(0..MANY).collect::<Vec<_>>());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Pop(usize),
        Set(usize),
        Keep,
    }

    fn step() -> impl Strategy<Value = Step> {
        // A few steps exceed what a branch holds.
        let many = 1..LEAF * BRANCH;
        prop_oneof![
            many.clone().prop_map(Step::Push),
            many.clone().prop_map(Step::Pop),
            many.prop_map(Step::Set),
            Just(Step::Keep),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

        #[test]
        fn a_vector_is_a_list_whose_old_versions_do_not_change(steps in prop::collection::vec(step(), 1..12), start: usize) {
            let (mut vector, mut plain, mut kept) = (Vector::default(), Vec::new(), Vec::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(count) => (0..count).for_each(|i| {
                        vector.push(n + i);
                        plain.push(n + i);
                    }),
                    Step::Pop(count) => (0..count).for_each(|_| assert_eq!(vector.pop(), plain.pop())),
                    Step::Set(place) => {
                        vector.set(place, n);
                        if let Some(place) = plain.get_mut(place) {
                            *place = n;
                        }
                    }
                    Step::Keep => kept.push((vector.clone(), plain.clone())),
                }
            }
            kept.push((vector, plain));
            for (vector, plain) in &kept {
                check(vector, plain);
                let start = start % (plain.len() + 1);
                prop_assert!(vector.range(start..start + 100).eq(plain[start..].iter().take(100)));
            }
        }
    }
}

//! Whether the first group takes the same of every text in PostgreSQL and here.
//!
//! Both find the leftmost match. Of those that begin there PostgreSQL takes the longest, and within it each part, from left to right, takes
//! as much as lets the rest match; the engine takes what comes first if every quantifier tries more before less. That is the same in two
//! cases, and nothing else is taken for granted:
//!
//! - What stands before the group has a fixed length, and so has the group, or what stands behind it up to a `$` at the end: the group has
//!   no choice.
//! - Up to the group and inside it there are only bytes and sets with their quantifiers, and groups of such that stand once; behind it as
//!   well, or anything that `$` ends. Suppose that the engine's way leaves a part earlier than PostgreSQL's. Then there is a first part that
//!   begins no earlier on the engine's way and ends earlier: it could have gone on to where PostgreSQL's ends, over bytes that it takes there,
//!   and the rest would match as it does there. The engine would have tried that first.

use super::parse::{Alternatives, Atom, Item};

/// Whether the expression can only match a whole text.
pub(super) fn is_anchored(alternatives: &Alternatives) -> bool {
    let begins = |branch: &Vec<Item>| matches!(branch.first(), Some(Item { atom: Atom::Start, .. }));
    alternatives.branches.iter().all(|branch| begins(branch) && ends(branch))
}

/// What the extent of the first group hangs on, if it can differ. An expression without a group is certain: it takes nothing.
pub(super) fn uncertainty(alternatives: &Alternatives) -> Option<&'static str> {
    if !alternatives.has_group() {
        return None;
    }
    let [branch] = alternatives.branches.as_slice() else {
        return Some("has a | beside the group that \\1 takes; write a line for each alternative");
    };
    let place = branch.iter().position(|item| matches!(item.atom, Atom::Group(_)))?;
    let (before, rest) = branch.split_at_checked(place)?;
    let (group, behind) = rest.split_first()?;
    if !group.is_single() {
        return Some("repeats the group that \\1 takes; put the quantifier inside it");
    }
    let own = std::slice::from_ref(group);
    let forced = is_fixed(before) && (is_fixed(own) || (is_fixed(behind) && ends(branch)));
    let plain = is_plain(before) && is_plain(own) && (is_plain(behind) || ends(branch));
    match (forced || plain, is_plain(own)) {
        (true, _) => None,
        (false, false) => Some("has a | or a repeated group inside the group that \\1 takes; write a line for each alternative"),
        (false, true) => Some("has a | or a repeated group behind the group that \\1 takes and no $ at the end; add the $"),
    }
}

fn ends(branch: &[Item]) -> bool {
    matches!(branch.last(), Some(Item { atom: Atom::End, .. }))
}

/// Only sets, constraints, and groups of such that stand once, without a choice between branches.
fn is_plain(items: &[Item]) -> bool {
    items.iter().all(|item| match &item.atom {
        Atom::Set(_) | Atom::Start | Atom::End => true,
        Atom::Group(inner) => match inner.branches.as_slice() {
            [branch] => item.is_single() && is_plain(branch),
            _ => false,
        },
    })
}

/// Always as many bytes.
fn is_fixed(items: &[Item]) -> bool {
    length(items).is_some()
}

fn length(items: &[Item]) -> Option<usize> {
    items.iter().try_fold(0usize, |sum, item| {
        let once = match &item.atom {
            Atom::Set(_) => 1,
            Atom::Start | Atom::End => 0,
            Atom::Group(inner) => {
                let mut lengths = inner.branches.iter().map(|branch| length(branch));
                let first = lengths.next()??;
                if lengths.all(|other| other == Some(first)) { first } else { return None }
            }
        };
        let times = item.most.filter(|most| *most == item.least)?;
        sum.checked_add(once.checked_mul(usize::from(times))?)
    })
}

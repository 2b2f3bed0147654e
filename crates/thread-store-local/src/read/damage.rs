//! Reports damage of a history in the terms of the contract.

use selvedge_protocol::log::DamagedRange;
use selvedge_rollout::ResolvedHistory;
use selvedge_thread_store::Damage;

/// Returns a damaged range of a part.
pub(crate) fn damage_of(resolved: &ResolvedHistory, part: usize, damaged: DamagedRange) -> Damage {
    Damage {
        location: path_of(resolved, part),
        range: damaged.range,
        line: damaged.number,
        reason: damaged.kind.to_string(),
    }
}

/// Returns the damage of a part that ends before the prefix that the next part inherits from it: a damaged range at its end.
pub(crate) fn short_damage(resolved: &ResolvedHistory, part: usize, len: u64) -> Damage {
    let end = resolved.parts[part].end.and_then(|end| end.byte).unwrap_or(len).max(len);
    let reason = "the file ends before the part of it that this thread builds on".to_owned();
    Damage { location: path_of(resolved, part), range: len..end, line: 0, reason }
}

fn path_of(resolved: &ResolvedHistory, part: usize) -> String {
    resolved.parts[part].file.path.display().to_string()
}

/// Returns the damage of a base that is missing or cannot be read: a damaged range before everything else.
pub(crate) fn missing_damage(resolved: &ResolvedHistory) -> Option<Damage> {
    resolved.missing.as_ref().map(|missing| Damage {
        location: format!("segment {}", missing.segment_id),
        range: 0..missing.end.byte.unwrap_or(0),
        line: 1,
        reason: format!("the history begins in this segment, and {}", missing.reason),
    })
}

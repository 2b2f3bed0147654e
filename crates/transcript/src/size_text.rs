//! Sizes in words.

/// The names of the units. Each is 1,024 times the one before it.
const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Returns a size in words: `812 B`, `3.20 KiB`, `10.55 MiB`.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    // A size that would be rounded to 1024.00 is one of the next unit.
    for larger in units {
        if size < 1_023.995 {
            break;
        }
        size /= 1_024.0;
        unit = larger;
    }
    format!("{size:.2} {unit}")
}

#[cfg(test)]
mod tests {
    use super::size_text;

    #[test]
    fn a_size_has_the_largest_unit_of_which_there_is_one() {
        let sizes = [0, 1_023, 1_024, 1_500, (1 << 20) - 1, 1 << 20, 1_500_000_000, u64::MAX];
        let texts = ["0 B", "1023 B", "1.00 KiB", "1.46 KiB", "1.00 MiB", "1.00 MiB", "1.40 GiB", "16384.00 PiB"];
        assert_eq!(sizes.map(size_text), texts);
    }
}

//! The caches of this machine, as Linux tells them.

use std::fs;
use std::path::Path;

/// One cache for data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: usize,
    /// How much it holds.
    pub bytes: usize,
    /// How much it fetches at a time.
    pub line_bytes: usize,
    /// The processors that share it.
    pub shared_by: usize,
}

/// The caches for data of the first processor, nearest first; none where the system does not tell.
pub fn caches() -> Vec<Cache> {
    read_caches(Path::new("/sys/devices/system/cpu/cpu0/cache"))
}

fn read_caches(folder: &Path) -> Vec<Cache> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<Cache> = entries.flatten().filter_map(|entry| read_cache(&entry.path())).collect();
    found.sort_by_key(|cache| (cache.level, cache.bytes));
    found
}

fn read_cache(folder: &Path) -> Option<Cache> {
    let read = |name: &str| Some(fs::read_to_string(folder.join(name)).ok()?.trim().to_owned());
    if read("type")? == "Instruction" {
        return None;
    }
    Some(Cache {
        level: read("level")?.parse().ok()?,
        bytes: parse_bytes(&read("size")?)?,
        line_bytes: read("coherency_line_size").and_then(|text| text.parse().ok()).unwrap_or(64),
        shared_by: read("shared_cpu_list").and_then(|text| count_listed(&text)).unwrap_or(1),
    })
}

/// `32768K`.
fn parse_bytes(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

/// How many numbers `0-3,8` lists.
fn count_listed(text: &str) -> Option<usize> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    text.split(',').map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_are_read_as_linux_writes_them() {
        assert_eq!(parse_bytes("48K"), Some(48 << 10));
        assert_eq!(parse_bytes("2M"), Some(2 << 20));
        assert_eq!(parse_bytes("0K"), None);
        assert_eq!(parse_bytes("many"), None);
        assert_eq!(count_listed("0"), Some(1));
        assert_eq!(count_listed("0-3,8"), Some(5));
        assert_eq!(count_listed("3-1"), None);
    }

    #[test]
    fn a_system_that_tells_nothing_has_no_caches() {
        assert_eq!(read_caches(Path::new("/no/such/folder")), []);
    }

    #[test]
    fn caches_grow_with_their_level() {
        let found = caches();
        assert!(found.iter().zip(found.iter().skip(1)).all(|(near, far)| near.level <= far.level), "{found:?}");
        assert!(found.iter().all(|cache| cache.bytes > 0 && cache.shared_by > 0), "{found:?}");
    }
}

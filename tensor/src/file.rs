//! Files as shared bytes.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};

/// Reads `file` from its current position to its end; at most `limit_bytes`, else an error of kind `FileTooLarge`.
///
/// The length that the file claims is only a hint: memory grows with what is read.
pub fn read_file(file: &mut File, limit_bytes: u64) -> io::Result<Bytes> {
    let claimed = file.metadata()?.len();
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit_bytes} bytes"));
    if claimed > limit_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(claimed).unwrap_or(0).saturating_add(1))?;
    let read = file.by_ref().take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > limit_bytes {
        return Err(too_large());
    }
    Ok(Bytes::from(bytes))
}

/// Maps `file` into memory instead of reading it.
///
/// Pages are loaded as they are touched and can be dropped by the system again. The price: if another process
/// truncates the file while it is mapped, touching the lost pages ends this process with `SIGBUS`. Use it only for
/// files that nobody changes; everything else in planish reads by default.
pub fn map_file(file: &File) -> io::Result<Bytes> {
    // SAFETY: the mapping is private and read-only. Rust's aliasing rules need the file to stay unchanged, which no
    // program can enforce: that is the documented condition of this opt-in function.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}

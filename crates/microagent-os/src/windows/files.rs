//! What a file system says about a file and about itself.

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, GetCompressedFileSizeW, GetDiskFreeSpaceExW, GetDriveTypeW,
    GetFileInformationByHandle, GetVolumePathNameW, INVALID_FILE_SIZE, LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

/// What `GetDriveTypeW` answers for a drive of another machine.
const DRIVE_REMOTE: u32 = 4;
const PATH_UNITS_MAX: usize = 32_768;

/// Volume and number of an open file.
pub(crate) fn identity(file: &File) -> io::Result<(u64, u64)> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for the call, and the pointer leads to a value that outlives it.
    super::checked(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) })?;
    let index = (u64::from(found.nFileIndexHigh) << 32) | u64::from(found.nFileIndexLow);
    Ok((u64::from(found.dwVolumeSerialNumber), index))
}

/// Where the byte of a lock lies, in its upper half: behind the end of every file.
const LOCK_OFFSET_HIGH: u32 = 0x7fff_ffff;

/// Locks one byte that no file reaches, if nobody has it.
pub(crate) fn lock_beyond_the_end(file: &File, alone: bool) -> io::Result<bool> {
    let kind = if alone { LOCKFILE_EXCLUSIVE_LOCK } else { 0 };
    let place = OVERLAPPED_0_0 {
        Offset: 0,
        OffsetHigh: LOCK_OFFSET_HIGH,
    };
    let mut operation = OVERLAPPED {
        Anonymous: OVERLAPPED_0 { Anonymous: place },
        ..OVERLAPPED::default()
    };
    let handle = file.as_raw_handle();
    let flags = kind | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open for the call, and what the pointer leads to outlives it: it does not wait.
    let answer = unsafe { LockFileEx(handle, flags, 0, 1, 0, &raw mut operation) };
    match super::checked(answer) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().map(i32::cast_unsigned) {
            Some(ERROR_LOCK_VIOLATION | ERROR_IO_PENDING) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Bytes that a file occupies.
pub(crate) fn occupied(path: &Path) -> io::Result<u64> {
    let wide = super::wide(path.as_os_str())?;
    let mut high = 0;
    // SAFETY: the text ends with a zero, and the pointer leads to a value that outlives the call.
    let low = unsafe { GetCompressedFileSizeW(wide.as_ptr(), &raw mut high) };
    if low == INVALID_FILE_SIZE {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(0) {
            return Err(error);
        }
    }
    Ok((u64::from(high) << 32) | u64::from(low))
}

/// Bytes that this user may still write, and bytes in all.
pub(crate) fn space(path: &Path) -> io::Result<(u64, u64)> {
    let wide = super::wide(path.as_os_str())?;
    let (mut available, mut total) = (0, 0);
    // SAFETY: the text ends with a zero, and the pointers lead to values that outlive the call.
    super::checked(unsafe {
        GetDiskFreeSpaceExW(
            wide.as_ptr(),
            &raw mut available,
            &raw mut total,
            std::ptr::null_mut(),
        )
    })?;
    Ok((available, total))
}

/// Whether a path lies on a drive of another machine.
pub(crate) fn is_remote(path: &Path) -> io::Result<bool> {
    let wide = super::wide(path.as_os_str())?;
    let mut volume = vec![0u16; PATH_UNITS_MAX];
    let length = u32::try_from(volume.len()).map_err(io::Error::other)?;
    // SAFETY: the text ends with a zero, and the buffer is as long as is said.
    super::checked(unsafe { GetVolumePathNameW(wide.as_ptr(), volume.as_mut_ptr(), length) })?;
    // SAFETY: the call before has ended the text with a zero.
    Ok(unsafe { GetDriveTypeW(volume.as_ptr()) } == DRIVE_REMOTE)
}

/// Renames to a name that nobody has, and returns when the new name is on the disk.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (super::wide(from.as_os_str())?, super::wide(to.as_os_str())?);
    // SAFETY: both texts end with a zero. Without the flag for it, nothing is replaced.
    super::checked(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), MOVEFILE_WRITE_THROUGH) })
}

//! Who may open what: the descriptor of what we make, and whether this process is an administrator.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_ELEVATION, TOKEN_QUERY,
    TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Full access for the owner, SYSTEM and Administrators; nobody else, and nothing inherited from above.
const PRIVATE: &str = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

/// Attributes for what is made: open to its owner, SYSTEM and Administrators alone.
#[derive(Debug)]
pub(crate) struct Private {
    descriptor: PSECURITY_DESCRIPTOR,
}

impl Private {
    pub(crate) fn new() -> io::Result<Self> {
        let text = super::wide(PRIVATE.as_ref())?;
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends with a zero, and the pointer leads to a value that outlives the call.
        super::checked(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Self { descriptor })
    }

    /// Valid for as long as the value lives.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.descriptor,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for us, and it is freed once.
        unsafe { LocalFree(self.descriptor) };
    }
}

/// Whether this process runs with administrator rights.
pub(crate) fn is_elevated() -> io::Result<bool> {
    let mut token = std::ptr::null_mut();
    // SAFETY: the call has no arguments; what it gives needs no closing.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the pointer leads to a value that outlives the call.
    super::checked(unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the handle was made just now and has no other owner.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut elevation = TOKEN_ELEVATION::default();
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).map_err(io::Error::other)?;
    let mut length = 0;
    // SAFETY: the buffer is as long as is said, and both pointers lead to values that outlive the call.
    super::checked(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenElevation,
            (&raw mut elevation).cast(),
            size,
            &raw mut length,
        )
    })?;
    Ok(elevation.TokenIsElevated != 0)
}

/// Makes a folder with that descriptor.
pub(crate) fn create_private_folder(path: &std::path::Path) -> io::Result<()> {
    let wide = super::wide(path.as_os_str())?;
    let private = Private::new()?;
    let attributes = private.attributes();
    // SAFETY: the text ends with a zero, and the attributes outlive the call.
    super::checked(unsafe {
        windows_sys::Win32::Storage::FileSystem::CreateDirectoryW(
            wide.as_ptr(),
            &raw const attributes,
        )
    })
}

//! Libraries that are loaded when they are needed, and text as their functions take and give it.

use std::ffi::CStr;

use windows_sys::Win32::Foundation::{FARPROC, HMODULE};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::GUID;

use crate::calls::{CallError, Progress};

/// `E_NOTIMPL`: what a function answers that its library lacks.
pub(super) const NOT_HERE: u32 = 0x8000_4001;
/// `E_INVALIDARG`.
const NOT_AN_ID: u32 = 0x8007_0057;

/// A library of the system, which stays loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library(HMODULE);

// SAFETY: a module that is never unloaded may be asked by every thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Only the system's own folder is looked in: no other may stand in for it.
    pub(super) fn load(name: &str) -> Option<Self> {
        let name = wide(name);
        let flags = LOAD_LIBRARY_SEARCH_SYSTEM32;
        // SAFETY: the text ends with a zero; a library of the system's folder may be loaded by everybody.
        let module = unsafe { LoadLibraryExW(name.as_ptr(), std::ptr::null_mut(), flags) };
        (!module.is_null()).then_some(Self(module))
    }

    /// A function of it.
    pub(super) fn function(self, name: &CStr) -> FARPROC {
        // SAFETY: the module is loaded for good, and the text ends with a zero.
        unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }
    }
}

/// Text with a zero at its end.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// What a function gives back as text: a place for the pointer, which frees what it leads to.
#[derive(Debug)]
pub(super) struct Told(*mut u16);

impl Told {
    pub(super) const fn nothing() -> Self {
        Self(std::ptr::null_mut())
    }

    pub(super) fn place(&mut self) -> *mut *mut u16 {
        &raw mut self.0
    }

    pub(super) fn text(&self) -> String {
        // SAFETY: the library has put nothing there, or a text of its own.
        unsafe { text_at(self.0) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // SAFETY: nothing, or a text that the library allocated for its caller to free; freed once.
        unsafe { CoTaskMemFree(self.0.cast()) };
    }
}

/// Text that somebody else keeps; nothing for a pointer to nothing.
///
/// # Safety
/// The pointer leads to nothing or to a text that ends with a zero and lives for the call.
pub(super) unsafe fn text_at(start: *const u16) -> String {
    if start.is_null() {
        return String::new();
    }
    let mut length = 0;
    // SAFETY: by the caller's word there is a zero, and nothing behind it is read.
    while unsafe { *start.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: as many values were read just now.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(start, length) })
}

/// The answer of a call, with what it said about it.
pub(super) fn judge(call: &'static str, answer: i32, told: &Told) -> Result<Progress, CallError> {
    CallError::judge(call, answer.cast_unsigned(), told.text())
}

/// An id as the functions of networks and sockets take it.
pub(super) fn guid(call: &'static str, text: &str) -> Result<GUID, CallError> {
    let digits = text.replace('-', "");
    let number = u128::from_str_radix(&digits, 16);
    match number {
        Ok(number) if digits.len() == 32 => Ok(GUID::from_u128(number)),
        _ => Err(CallError {
            call,
            code: NOT_AN_ID,
            detail: format!("`{text}` is no id"),
        }),
    }
}

/// The type of a function of a library, looked up once and kept.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident of $library:expr; $($field:ident = $name:literal: fn($($type:ty),*);)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $table {
            $($field: unsafe extern "system" fn($($type),*) -> i32,)+
        }

        impl $table {
            /// The functions; none when the library or one of them is not there.
            fn find() -> Option<Self> {
                let library = Library::load($library)?;
                Some(Self {
                    $($field: {
                        let found = library.function($name)?;
                        // SAFETY: the library publishes the function under this name with these types.
                        unsafe {
                            std::mem::transmute::<
                                unsafe extern "system" fn() -> isize,
                                unsafe extern "system" fn($($type),*) -> i32,
                            >(found)
                        }
                    },)+
                })
            }

            /// The functions, looked for once.
            fn get(call: &'static str) -> Result<Self, CallError> {
                static FOUND: std::sync::OnceLock<Option<$table>> = std::sync::OnceLock::new();
                FOUND.get_or_init(Self::find).ok_or_else(|| CallError {
                    call,
                    code: NOT_HERE,
                    detail: format!("`{}` is not there", $library),
                })
            }
        }
    };
}
pub(super) use functions;

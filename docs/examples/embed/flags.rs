// Prints the flags that are safe for wasmtime here.
//
//   rustc flags.rs -L native=/path/to/lib
use std::ffi::CStr;
use std::os::raw::{c_char, c_long, c_uint};

#[link(name = "cpuprobe", kind = "static")]
extern "C" {
    fn cpuprobe_safe_flags(wasmtime_major: c_uint, out: *mut c_char, size: usize) -> c_long;
    fn cpuprobe_error_text(error: c_long) -> *const c_char;
}

fn main() {
    let mut flags = vec![0u8; 1024];
    let length = unsafe { cpuprobe_safe_flags(0, flags.as_mut_ptr().cast(), flags.len()) };
    if length < 0 {
        let text = unsafe { CStr::from_ptr(cpuprobe_error_text(length)) };
        eprintln!("cpuprobe: {}", text.to_string_lossy());
        std::process::exit(3);
    }
    print!("{}", String::from_utf8_lossy(&flags[..length as usize]));
}

// An engine of wasmtime that compiles with the flags that are safe here, or an interpreter.
//
//   rustc engine.rs -L native=/path/to/lib --extern wasmtime=...
use std::ffi::CStr;
use std::os::raw::{c_char, c_long, c_uint};
use wasmtime::{Config, Engine};

const WASMTIME: c_uint = 50; // the major version that this program is built with

#[link(name = "cpuprobe", kind = "static")]
extern "C" {
    fn cpuprobe_safe_flags(wasmtime_major: c_uint, out: *mut c_char, size: usize) -> c_long;
    fn cpuprobe_error_text(error: c_long) -> *const c_char;
}

fn safe_flags() -> Result<String, String> {
    let mut flags = vec![0u8; 1024];
    let length = unsafe { cpuprobe_safe_flags(WASMTIME, flags.as_mut_ptr().cast(), flags.len()) };
    if length < 0 {
        let text = unsafe { CStr::from_ptr(cpuprobe_error_text(length)) };
        return Err(text.to_string_lossy().into_owned());
    }
    flags.truncate(length as usize);
    Ok(String::from_utf8(flags).expect("flags are ASCII"))
}

fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    match safe_flags() {
        Ok(flags) => {
            // With a target nothing is inferred from CPUID, which may claim what does not work.
            config.target("x86_64-unknown-linux-gnu")?;
            for (name, value) in flags.lines().filter_map(|line| line.split_once('=')) {
                // SAFETY: each flag that is true was executed on every CPU of this process.
                unsafe { config.cranelift_flag_set(name, value) };
            }
        }
        Err(why) => {
            eprintln!("cpuprobe: {why}; interpreting instead");
            config.target("pulley64")?;
        }
    }
    Engine::new(&config)
}

fn main() -> wasmtime::Result<()> {
    engine()?;
    Ok(())
}

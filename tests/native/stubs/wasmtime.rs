// The signatures of wasmtime's crate that docs/examples/embed/engine.rs uses (crates/wasmtime of
// wasmtime 50); each setting is printed.
pub type Result<T> = std::result::Result<T, String>;

pub struct Config {}
pub struct Engine {}

impl Config {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Config {
        Config {}
    }

    pub fn target(&mut self, target: &str) -> Result<&mut Config> {
        println!("target {target}");
        Ok(self)
    }

    /// # Safety
    /// A flag that is set promises something of the host.
    pub unsafe fn cranelift_flag_set(&mut self, flag: &str, value: &str) -> &mut Config {
        println!("{flag}={value}");
        self
    }
}

impl Engine {
    pub fn new(_config: &Config) -> Result<Engine> {
        Ok(Engine {})
    }
}

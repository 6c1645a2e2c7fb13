//! Tells the linker of macOS that the interpreter's names are found when the module is loaded; others take that as it is.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}

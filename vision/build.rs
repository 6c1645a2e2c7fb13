//! Compiles the kernels for CUDA, with the feature of that name; nothing otherwise.

#[cfg(feature = "cuda")]
fn main() -> cudaforge::Result<()> {
    let folder = "src/transformer/kernels/cuda";
    println!("cargo:rerun-if-changed=build.rs");
    cudaforge::KernelBuilder::new()
        .source_dir(folder)
        .watch([format!("{folder}/warp.cuh")])
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .map(drop)
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}

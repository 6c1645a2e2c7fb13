//! scratch
#![allow(clippy::unwrap_used, missing_docs)]
use picsift_images::*;
fn main() {
    let crop = Geometry::CentreCrop { short_side: 256, size: 224 };
    let mut files: Vec<_> = std::fs::read_dir(std::env::args().nth(1).unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    std::fs::create_dir_all("/tmp/smoke").unwrap();
    let mut by = std::collections::BTreeMap::<&str, (u32, f64, f64)>::new();
    for f in &files {
        let b = std::fs::read(f).unwrap();
        let info = match image_info(&b, &Limits::default()) { Ok(i) => i, Err(e) => { println!("{f:?} info {e}"); continue } };
        match prepare(&b, Geometry::Full, &Limits::default()) { Ok(p) => assert_eq!((p.width, p.height), (info.width, info.height)), Err(e) => println!("{f:?} full {e}") }
        let mut best = f64::MAX; 
        for _ in 0..5 { let t = std::time::Instant::now();
        match prepare(&b, crop, &Limits::default()) { Ok(p) => { std::fs::write(format!("/tmp/smoke/{}.rgb", f.file_name().unwrap().to_str().unwrap()), &p.data).unwrap() } Err(e) => println!("{f:?} {e}") }
        best = best.min(t.elapsed().as_secs_f64()); }
        let e = by.entry(info.format).or_default(); e.0 += 1; e.1 += best; e.2 = e.2.max(best);
    }
    for (k, v) in by { println!("{k}: {} images, mean {:.2} ms, max {:.2} ms", v.0, v.1 / v.0 as f64 * 1e3, v.2 * 1e3); }
}

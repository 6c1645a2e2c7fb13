use picsift_vision::*;
fn main() {
    let t0 = std::time::Instant::now();
    let mut l = load(DEFAULT_MODEL, DeviceChoice::Cpu).unwrap();
    println!("load {:?}", t0.elapsed());
    let batch: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let total: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let q: std::sync::Arc<[Question]> = [Question::Classes((0..10).collect())].into();
    let jobs: Vec<Job> = (0..batch)
        .map(|i| Job {
            image: RgbImage {
                width: 224,
                height: 224,
                data: (0..224 * 224 * 3u32)
                    .map(|j| (j.wrapping_mul(2654435761).wrapping_add(i as u32 * 77) >> 24) as u8)
                    .collect(),
            },
            questions: q.clone(),
        })
        .collect();
    l.model.answer(&jobs);
    let cpu = || {
        let s = std::fs::read_to_string("/proc/self/stat").unwrap();
        let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
        (
            f[11].parse::<f64>().unwrap() * 10.0,
            f[12].parse::<f64>().unwrap() * 10.0,
        )
    };
    let c0 = cpu();
    let t = std::time::Instant::now();
    let mut best = f64::MAX;
    let mut n = 0;
    while n < total {
        let t = std::time::Instant::now();
        let r = l.model.answer(&jobs);
        best = best.min(t.elapsed().as_secs_f64());
        assert!(r[0].is_ok());
        n += batch;
    }
    let w = t.elapsed().as_secs_f64();
    let c1 = cpu();
    println!(
        "batch {batch}: {:.1} img/s wall, best {:.1} img/s, cpu user {:.2} sys {:.2} ms/img",
        n as f64 / w,
        batch as f64 / best,
        (c1.0 - c0.0) / n as f64,
        (c1.1 - c0.1) / n as f64
    );
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM"))
            .collect::<String>()
    );
}

fn main() {
    use study::lsf_navigation::*;
    let a: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let folder = study::output::Folder::open("/tmp/x/lsfx".into()).unwrap();
    let saved = study::saved::Saved::open(&folder, "x", study::saved::Before::Delete).unwrap();
    let bar = indicatif::ProgressBar::hidden();
    let t = std::time::Instant::now();
    let v = variance::Study { seed: 0, problems: a[0], samples: vec![5,10,20,40,80], outer: a[1], rounds: a[2], horizon: 100, hidden: vec![32,32], rate: 0.003, precision: study::options::Precision::F32 };
    let r = v.run(&saved, &bar).unwrap();
    let x: Vec<f64> = v.samples.iter().map(|&n| (n as f64).ln()).collect();
    for p in &r {
        println!("{p:.3e?} {:?}", [0,1].map(|e| variance::slope(&x, &p.iter().map(|t| t[e].ln()).collect::<Vec<_>>())));
    }
    println!("{:?}", t.elapsed());
    let s = training::Study { seed: 0, runs: a[3], iterations: a[4], horizon: 100, hidden: vec![32,32], tasks: 20, precision: train::run::config::Precision::F32 };
    let r = s.run(&saved, &bar).unwrap();
    for run in &r { for m in run { println!("{:.1} {:.1?}", m.last, m.curve.iter().step_by(5).collect::<Vec<_>>()); } println!(); }
    println!("{:?}", t.elapsed());
}

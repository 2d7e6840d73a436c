//! Five jobs that a newcomer has, each a file of at most forty lines that knows the two crates and nothing of this workspace.

#[path = "jobs/adam.rs"]
mod adam;
#[path = "jobs/learned_rates.rs"]
mod learned_rates;
#[path = "jobs/ln_gamma.rs"]
mod ln_gamma;
#[path = "jobs/proof.rs"]
mod proof;
#[path = "jobs/v_trace.rs"]
mod v_trace;

#[test]
fn each_takes_at_most_forty_lines() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobs");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 5);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() <= 40, "{}: {} lines", file.display(), text.lines().count());
        assert!(!text.contains("study::") && !text.contains("train::"), "{}", file.display());
    }
}

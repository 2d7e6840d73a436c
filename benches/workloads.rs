//! The workloads W1 … W8 at the sizes of `tests/golden`, where the cost of each operation counts as much as that of each
//! entry. The example `workloads` times them at full size.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use study::workloads::{Error, Folder, Recorder, WORKLOADS};

fn workloads(criterion: &mut Criterion) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (workload, parts) in WORKLOADS {
        let mut group = criterion.benchmark_group(workload);
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        let inputs = Folder::open(&data, workload, "in").expect("inputs");
        for part in parts {
            let tasks = match part(&Recorder::new(&inputs)) {
                Err(Error::Absent(_)) => continue,
                tasks => tasks.expect("inputs that belong together"),
            };
            for task in tasks.iter().filter(|task| task.timed) {
                let values = task.values();
                let run = || task.program.run(&values).expect("valid inputs");
                group.bench_function(task.names().join(" and "), |bencher| bencher.iter(|| black_box(run())));
            }
        }
    }
}

criterion_group!(benches, workloads);
criterion_main!(benches);

//! Pictures of reports.

use rl::objective::all;
use rl::report::{EstimatorReport, Plan};
use study::exact::Problem;
use study::picture::write_report;

#[test]
fn the_picture_of_a_report_names_what_was_measured() {
    let setting = Problem::new(1, true, 3).unwrap().setting(0.9, false, false).unwrap();
    let plan = Plan { orders: vec![0, 1, 2, 3], samples: vec![4, 16], repeats: 30, seed: 5 };
    let report = EstimatorReport::new(&setting, &all(), &plan).unwrap();
    let path = std::env::temp_dir().join(format!("picture-{}.svg", std::process::id()));
    write_report(&report, &path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for words in ["Hessian: error", "third derivative: cosine", "dice_leave_one_out"] {
        assert!(svg.contains(words), "{words}");
    }
    let missing = write_report(&report, "/no/such/folder/r.svg").unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/folder/r.svg: "), "{missing}");
}

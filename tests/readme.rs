//! The README's table of estimators says what the estimators claim.

use rl::objective::all;

#[test]
fn the_table_of_estimators_states_each_claim() {
    let readme = include_str!("../README.md");
    let rows: Vec<Vec<&str>> = (readme.lines())
        .skip_while(|line| !line.starts_with("| estimator |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let stated: Vec<[String; 3]> =
        rows.iter().map(|row| [row[1].trim_matches('`').to_owned(), row[3].to_owned(), row[4].to_owned()]).collect();
    let claimed: Vec<[String; 3]> = (all().iter())
        .map(|estimator| {
            let claim = estimator.facts().claim;
            [estimator.facts().name, claim.on_policy.to_string(), claim.off_policy.to_string()]
        })
        .collect();
    assert_eq!(stated, claimed);
}

#[test]
fn the_table_of_sampled_updates_has_every_estimator_and_says_which_are_unbiased() {
    let readme = include_str!("../README.md");
    let mut stated: Vec<(String, bool)> = (readme.lines())
        .skip_while(|line| !line.starts_with("| estimator | name | formula for one inner step"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let unbiased = cells[3].starts_with("none");
            cells[1].split(", ").map(move |name| (name.trim_matches('`').to_owned(), unbiased)).collect::<Vec<_>>()
        })
        .collect();
    let mut listed: Vec<(String, bool)> =
        rl::meta::sampled::all().iter().map(|estimator| (estimator.name.to_owned(), estimator.unbiased)).collect();
    stated.sort();
    listed.sort();
    assert_eq!(stated, listed);
}

//! What `check_gradients` finds, whatever the units, and what it lets pass.

use ad::{CustomOperation, GradientCheck, Modes, Shape, Var, check_gradients, custom};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, arr0, arr1};

#[test]
fn units_of_results_and_inputs_do_not_matter() {
    for unit in [1e-9, 1e-3, 1.0, 1e4, 1e9] {
        for scale in [1e-6, 1e-3, 1.0, 1e3, 1e6] {
            let at = [arr1(&[0.3, 1.2, -0.7]).into_dyn() * scale];
            let f = move |x: &[Var]| ((x[0] * (1.0 / scale)).sin() * (x[0] * (1.0 / scale)).exp()).sum() * unit;
            check_gradients(f, &at, 3, Modes::Both).unwrap_or_else(|problem| panic!("{unit}, {scale}: {problem}"));
        }
    }
}

#[test]
fn functions_are_checked_next_to_their_singularities() {
    for x in [1e-12, 1e-6, 1e-3, 0.5, 1e3] {
        let at = [arr1(&[x, 1.3 * x]).into_dyn()];
        check_gradients(|x| x[0].ln(), &at, 3, Modes::Both).unwrap();
        check_gradients(|x| x[0].sqrt(), &at, 3, Modes::Both).unwrap();
        check_gradients(|x| x[0].powf(-1.5), &at, 3, Modes::Both).unwrap();
    }
    // Also where another entry of the array has another magnitude, and another input.
    let at = [arr1(&[1e-4, 1.0]).into_dyn(), arr0(1e4).into_dyn()];
    check_gradients(|x| x[0].ln() * x[1].sqrt(), &at, 3, Modes::Both).unwrap();
    // A tiny entry beside a large result is moved by more than its own size.
    check_gradients(|x| x[0].sin() + 1.0, &[arr0(1e-12).into_dyn()], 3, Modes::Both).unwrap();
    check_gradients(|x| x[0].sin(), &[arr0(1e6).into_dyn()], 2, Modes::Both).unwrap();
}

type Rule = fn(&[Var], Var) -> Vec<Option<Var>>;

/// The sum of its operands' squares, with a rule of any kind.
struct Square(Rule);

impl CustomOperation for Square {
    fn name(&self) -> &str {
        "custom_square"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.assign(&operands.iter().map(|x| x.mapv(|x| x * x)).reduce(|sum, x| sum + x).unwrap());
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        (self.0)(operands, cotangent)
    }
}

#[test]
fn a_rule_that_is_half_wrong_is_found_in_any_unit() {
    for unit in [1e-9, 1e-3, 1.0, 1e9] {
        for scale in [1e-6, 1.0, 1e6] {
            let at = [arr1(&[0.4, 1.2]).into_dyn() * scale];
            let f = move |x: &[Var]| custom(Square(|x, g| vec![Some(g * x[0])]), &[x[0]]).sum() * unit;
            for modes in [Modes::Reverse, Modes::Forward] {
                let problem = check_gradients(f, &at, 1, modes).unwrap_err();
                assert!(problem.contains("order 1") && problem.contains("custom_square"), "{problem}");
            }
        }
    }
}

#[test]
fn a_rule_that_is_off_by_a_millionth_is_found_if_the_tolerance_says_so() {
    let f = |x: &[Var]| custom(Square(|x, g| vec![Some(g * x[0] * (2.0 + 1e-6))]), &[x[0]]);
    let at = [arr1(&[0.4, 1.2]).into_dyn()];
    let check = GradientCheck { order: 1, ..GradientCheck::default() };
    check.run(f, &at).unwrap();
    let problem = GradientCheck { tolerance: 1e-8, ..check }.run(f, &at).unwrap_err();
    assert!(problem.contains("order 1, reverse mode: input 0, entry [0]: derivative 8.94427"), "{problem}");
}

#[test]
fn what_a_rule_leaves_out_is_found() {
    let at = [arr1(&[0.4, 1.2]).into_dyn(), arr1(&[-0.3, 0.9]).into_dyn()];
    // Its only operand, one of two, and all of two.
    let problem =
        check_gradients(|x| custom(Square(|_, _| vec![None]), &[x[0]]), &at[..1], 1, Modes::Reverse).unwrap_err();
    assert!(problem.contains("input 0, entry [0]: derivative 0e0"), "{problem}");
    let one = |x: &[Var]| custom(Square(|x, g| vec![Some(g * x[0] * 2.0), None]), x);
    let problem = check_gradients(one, &at, 1, Modes::Reverse).unwrap_err();
    assert!(problem.contains("input 1") && problem.contains("custom_square"), "{problem}");
    let problem = check_gradients(|x| custom(Square(|_, _| vec![None, None]), x), &at, 1, Modes::Forward).unwrap_err();
    assert!(problem.contains("input 0") && problem.contains("custom_square"), "{problem}");
}

#[test]
fn a_rule_that_is_not_linear_is_found_in_reverse_mode() {
    let rules: [Rule; 2] = [|x, g| vec![Some(g * g * x[0] * 2.0)], |x, g| vec![Some(g * x[0] * 2.0 + 1.0)]];
    for rule in rules {
        let f = move |x: &[Var]| custom(Square(rule), &[x[0]]);
        let problem = check_gradients(f, &[arr1(&[0.4, 1.2]).into_dyn()], 1, Modes::Reverse).unwrap_err();
        assert!(problem.contains("order 1, reverse mode") && problem.contains("custom_square"), "{problem}");
    }
}

#[test]
fn directions_are_no_product_with_the_inputs() {
    // An entry that is not used may be anything: ∞·0 would be a NaN in every direction.
    let at: [ArrayD<f64>; 1] = [arr1(&[0.5, f64::INFINITY]).into_dyn()];
    let problem = check_gradients(|x| x[0].slice(0, 0..1).sin(), &at, 2, Modes::Both).unwrap_err();
    assert!(problem.contains("order 1, reverse mode: input 0, entry [1]"), "{problem}");
}

// In debug builds the first use of a rule finds what reverse mode alone would not.

#[cfg(debug_assertions)]
mod in_debug_builds {
    use super::*;
    use ad::Tape;

    fn gradient(rule: Rule) -> ArrayD<f64> {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[0.4, 1.2]));
        let y = custom(Square(rule), &[x.sin()]);
        y.sum().grad_or_zeros(x).value()
    }

    /// 2·x, with a kernel of single precision that is another function.
    struct TwoFaced;

    impl CustomOperation for TwoFaced {
        fn name(&self) -> &str {
            "two_faced"
        }
        fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
            Ok(operands[0].into())
        }
        fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
            out.zip_mut_with(&operands[0], |out, x| *out = 2.0 * x);
        }
        fn forward_f32(&self, operands: &[ArrayViewD<'_, f32>], mut out: ArrayViewMutD<'_, f32>) {
            out.zip_mut_with(&operands[0], |out, x| *out = 2.01 * x);
        }
        fn vjp(&self, _: &[Var], _: Var, cotangent: Var) -> Vec<Option<Var>> {
            vec![Some(cotangent * 2.0)]
        }
    }

    #[test]
    #[should_panic(expected = "`forward_f32` of `two_faced`, recorded at crates/ad/tests/check.rs:")]
    fn a_kernel_of_single_precision_that_is_another_function_is_named() {
        let tape = Tape::new();
        let double = tape.input("x", arr1(&[0.4, 1.2]));
        assert_eq!(custom(TwoFaced, &[double]).sum().grad(double).value(), arr1(&[2.0; 2]).into_dyn());
        let single = tape.input("x", arr1(&[0.4_f32, 1.2]));
        let _ = custom(TwoFaced, &[single]).sum().grad(single);
    }

    #[test]
    #[should_panic(expected = "the derivative rule of `custom_square`, recorded at crates/ad/tests/check.rs:")]
    fn a_rule_that_is_not_linear_is_named() {
        gradient(|x, g| vec![Some(g * g * x[0])]);
    }

    #[test]
    #[should_panic(expected = "is not linear in its cotangent: −2 times a cotangent does not give −2 times its result")]
    fn a_rule_that_adds_a_constant_is_not_linear() {
        gradient(|x, g| vec![Some(g * x[0] * 2.0 + 1.0)]);
    }

    #[test]
    #[should_panic(expected = "gives no operand a cotangent, but the result depends on them")]
    fn a_rule_that_leaves_out_its_only_operand_is_named() {
        gradient(|_, _| vec![None]);
    }

    #[test]
    fn a_rule_that_is_right_passes_at_any_numbers() {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[0.0, f64::INFINITY, f64::NAN]));
        let y = custom(Square(|x, g| vec![Some(g * x[0] * 2.0)]), &[x]);
        assert_eq!(y.sum().grad(x).value()[[0]], 0.0);
    }
}

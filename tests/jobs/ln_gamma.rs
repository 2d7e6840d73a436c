//! An operation of one's own with derivatives of every order: ln Γ(x) for x > 0 and its derivatives, by Stirling's series.
use ad::{CustomOperation, Modes, Shape, check_gradients, custom, ndarray::*, prelude::*};

/// Its derivative of that order.
struct LnGamma(u32);

/// B_2, B_4, …
const BERNOULLI: [f64; 8] = [1. / 6., -1. / 30., 1. / 42., -1. / 30., 5. / 66., -691. / 2730., 7. / 6., -3617. / 510.];

/// The n-th derivative of c/x^k.
fn power(c: f64, k: u32, n: u32, x: f64) -> f64 {
    (0..n).fold(c, |c, i| -c * f64::from(k + i)) / x.powi((k + n) as i32)
}

/// That of ln Γ, for small x by Γ(x) = Γ(x + 1)/x.
fn derivative(n: u32, x: f64) -> f64 {
    let leading = match n {
        _ if x < 20.0 => return derivative(n, x + 1.0) - if n == 0 { x.ln() } else { power(1.0, 1, n - 1, x) },
        0 => (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln(),
        1 => x.ln() - 0.5 / x,
        _ => power(1.0, 1, n - 2, x) - 0.5 * power(1.0, 1, n - 1, x),
    };
    let terms = BERNOULLI.iter().zip((2..).step_by(2));
    leading + terms.map(|(b, k)| power(b / f64::from(k * (k - 1)), k - 1, n, x)).sum::<f64>()
}
#[rustfmt::skip]
impl CustomOperation for LnGamma {
    fn name(&self) -> &str { "my_ln_gamma" }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> { Ok(operands[0].into()) }
    fn forward(&self, x: &[ArrayViewD<f64>], mut out: ArrayViewMutD<f64>) { out.zip_mut_with(&x[0], |out, &x| *out = derivative(self.0, x)) }
    fn vjp(&self, x: &[Var], _: Var, g: Var) -> Vec<Option<Var>> { vec![Some(g * custom(LnGamma(self.0 + 1), x))] }
}
#[test]
fn ln_gamma_is_like_any_operation() {
    let at: Array1<f64> = arr1(&[0.3, 1.0, 4.5, 80.0]);
    let difference = |order| ad::derivative(|x| custom(LnGamma(0), &[x]) - x.ln_gamma(), &at, order);
    assert!((0..4).all(|order| difference(order).iter().all(|x| x.abs() < 1e-11)), "{}", difference(3));
    check_gradients(|x| custom(LnGamma(0), x).sum(), &[at.into_dyn()], 3, Modes::Both).unwrap();
}

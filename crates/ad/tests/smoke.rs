use ad::*;
use ndarray::*;
#[test]
fn smoke() {
    let tape = Tape::<f64>::new();
    let x = tape.input("x", &arr1(&[0.5, 1.5, -0.3]));
    let loss = (x.sin().exp() * x).sum();
    println!("{} {}", loss.item(), loss.grad(x).value());
    println!("{}", loss.hessian(x).value());
    println!("{}", loss.hvp(x, x).value());
    println!("{}", loss.grad(x).sum().grad(x).value());
    let p = tape.compile([x], [loss, loss.grad(x), loss.hvp(x, x)]);
    println!("{p}{}", p.cost());
    for (name, f) in [
        ("a", (|x: &[Var]| (x[0].sin() * x[0]).sum()) as fn(&[Var]) -> Var),
        ("scan", |x| x[0].scan(x[0].cos(), 0)),
        ("scanr", |x| x[0].scan_reverse(x[0].cos(), 0)),
        ("scanf", |x| x[0].scan_reverse_from(x[0].cos(), x[0].at(0, 1), 0)),
        ("cumprod", |x| x[0].cumprod(0)),
        ("outer", |x| x[0].reshape(&[3, 1]).matmul(x[0].reshape(&[1, 3]))),
        ("solve", |x| (x[0].reshape(&[3, 1]) * x[0].cos() + Array2::<f64>::eye(3)).solve(x[0])),
        ("lse", |x| (x[0].reshape(&[3, 1]) * x[0]).logsumexp(&[0])),
        ("max", |x| (x[0].reshape(&[3, 1]) * x[0]).max_axes(&[0])),
        ("pow", |x| (x[0] * x[0] + 1.0).pow(x[0])),
        ("bcast", |x| x[0] * x[0].sum() / (x[0].reshape(&[3, 1]).cos() + 2.0)),
    ] {
        check_gradients(f, &[arr1(&[0.5, 1.5, -0.3]).into_dyn()], 3, Modes::Both)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

//! From a source's arrays to inputs on a tape, and from Vars to programs that know their inputs and outputs by name.

use std::cell::RefCell;
use std::collections::HashMap;

use ad::{DType, Handle, Index, Program, Tape, Tree, Value, Var};
use indexmap::IndexMap;
use ndarray::ArrayD;

use super::arrays::relative_error;
use super::{Error, Folder, Result, Source};

/// A tape, and the arrays that its inputs stand for.
///
/// Inputs are asked for with their axes by name, as in `"n t"`. An axis has one length wherever it is named (`t+1` is one
/// longer than `t`, and a number is itself), so that files that do not belong together are an error here, not later.
pub struct Recorder<'s> {
    source: &'s dyn Source,
    /// What real numbers are rounded to.
    precision: DType,
    tape: Tape,
    inputs: RefCell<Vec<(Handle, Value<'static>)>>,
    lengths: RefCell<HashMap<String, usize>>,
}

/// A program, the arrays it runs on, and what its results are called.
pub struct Task {
    /// What computes all of its quantities.
    pub program: Program,
    /// Whether its time counts, and does so in the row of its last quantity.
    pub timed: bool,
    quantities: Vec<Quantity>,
    inputs: Vec<Value<'static>>,
}

/// A quantity is one result of a program, or one for each leaf of a tree. Each is stored in a file.
struct Quantity {
    name: String,
    files: Vec<String>,
}

/// What a quantity is computed by.
pub enum Output {
    One(Var),
    Tree(IndexMap<String, Var>),
}

impl From<Var> for Output {
    fn from(var: Var) -> Self {
        Output::One(var)
    }
}

impl From<IndexMap<String, Var>> for Output {
    fn from(tree: IndexMap<String, Var>) -> Self {
        Output::Tree(tree)
    }
}

impl<'s> Recorder<'s> {
    /// In double precision.
    pub fn new(source: &'s dyn Source) -> Self {
        Self::in_precision(source, DType::F64)
    }

    /// All in this floating-point type: real arrays are rounded when they are read.
    pub fn in_precision(source: &'s dyn Source, precision: DType) -> Self {
        Self { source, precision, tape: Tape::new(), inputs: RefCell::default(), lengths: RefCell::default() }
    }

    /// The real array of this name.
    pub fn real(&self, name: &str, axes: &str) -> Result<Var> {
        let array = self.source.real(name)?;
        self.measure(name, array.shape(), axes)?;
        let value = Value::from(array).rounded(self.precision);
        let var = self.tape.input(name, value.view());
        self.inputs.borrow_mut().push((var.into(), value));
        Ok(var)
    }

    /// The integer array of this name, whose entries are positions along the axis `into`.
    pub fn index(&self, name: &str, axes: &str, into: &str) -> Result<Index> {
        let array = self.source.index(name)?;
        self.measure(name, array.shape(), axes)?;
        let length = self.length(into).unwrap_or(usize::MAX);
        if let Some(i) = array.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= length)) {
            return Err(Error::Unusable(format!(
                "input {name}: index {i} is outside axis `{into}` of length {length}"
            )));
        }
        let index = self.tape.index(name, &array);
        self.inputs.borrow_mut().push((index.into(), array.into()));
        Ok(index)
    }

    /// The real arrays of these names and axes, each stored under `prefix` and its name.
    pub fn tree(&self, prefix: &str, leaves: &[(&str, &str)]) -> Result<IndexMap<String, Var>> {
        leaves.iter().map(|&(name, axes)| Ok((name.to_owned(), self.real(&format!("{prefix}{name}"), axes)?))).collect()
    }

    /// The length of an axis, if it is a number or has been named before.
    fn length(&self, axis: &str) -> Option<usize> {
        axis.parse().ok().or_else(|| self.lengths.borrow().get(axis).copied())
    }

    fn measure(&self, name: &str, shape: &[usize], axes: &str) -> Result<()> {
        let wrong = |problem: &str| Err(Error::Unusable(format!("input {name} of shape {shape:?}: {problem}")));
        let expected: Vec<&str> = axes.split_whitespace().collect();
        if shape.len() != expected.len() {
            return wrong(&format!("its axes should be `{axes}`"));
        }
        for (&length, axis) in shape.iter().zip(expected) {
            let (axis, shorter) = match axis.strip_suffix("+1") {
                Some(axis) => (axis, length.saturating_sub(1)),
                None => (axis, length),
            };
            if shorter == 0 {
                return wrong("too short an axis");
            }
            match self.length(axis) {
                Some(known) if known != shorter => {
                    return wrong(&format!("axis `{axis}` should have length {known}, not {shorter}"));
                }
                Some(_) => {}
                None => drop(self.lengths.borrow_mut().insert(axis.to_owned(), shorter)),
            }
        }
        Ok(())
    }

    /// A program of all inputs so far, which computes these quantities.
    pub fn task<'n>(&self, outputs: impl IntoIterator<Item = (&'n str, Output)>) -> Task {
        let (mut quantities, mut vars) = (Vec::new(), Vec::new());
        for (name, output) in outputs {
            let files = match output {
                Output::One(var) => {
                    vars.push(var);
                    vec![name.to_owned()]
                }
                Output::Tree(tree) => {
                    vars.extend(tree.values());
                    tree.keys().map(|leaf| format!("{name}.{leaf}")).collect()
                }
            };
            quantities.push(Quantity { name: name.to_owned(), files });
        }
        let (handles, inputs): (Vec<Handle>, Vec<Value<'static>>) = self.inputs.borrow().iter().cloned().unzip();
        Task { program: self.tape.compile(handles, vars), timed: true, quantities, inputs }
    }

    /// The value of an objective and its gradient, in one program.
    pub fn value_and_grad<P: Tree>(&self, names: [&str; 2], objective: Var, parameters: P) -> Task
    where
        Output: From<P::Output>,
    {
        self.task([(names[0], objective.into()), (names[1], objective.grad(parameters).into())])
    }

    /// The Hessian of an objective times a direction.
    pub fn hvp<P: Tree>(&self, name: &str, objective: Var, parameters: P, direction: P) -> Task
    where
        Output: From<P::Output>,
    {
        self.task([(name, objective.hvp(parameters, direction).into())])
    }

    /// The Hessian of an objective, as a matrix.
    pub fn hessian(&self, name: &str, objective: Var, parameters: Var) -> Task {
        let n = parameters.size();
        self.task([(name, objective.hessian(parameters).reshape(&[n, n]).into())])
    }
}

impl Task {
    /// The same without a time of its own.
    pub fn untimed(self) -> Self {
        Self { timed: false, ..self }
    }

    /// The names of its quantities.
    pub fn names(&self) -> Vec<&str> {
        self.quantities.iter().map(|quantity| quantity.name.as_str()).collect()
    }

    /// What its program is run on.
    pub fn values(&self) -> Vec<Value<'_>> {
        self.inputs.iter().map(Value::view).collect()
    }

    /// Its program's results, one for each leaf of each quantity.
    pub fn run(&self) -> Result<Vec<ArrayD<f64>>> {
        let results = self.program.run_values(&self.values())?.into_iter();
        Ok(results.map(|value| value.rounded(DType::F64).into_array().expect("results are real")).collect())
    }

    /// Each quantity's error against the stored one: of a tree, its worst leaf's.
    pub fn errors(&self, stored: &Folder) -> Result<Vec<(&str, f64)>> {
        let mut results = self.run()?.into_iter();
        let error =
            |quantity: &'_ Quantity| {
                quantity.files.iter().zip(results.by_ref()).try_fold(0.0, |worst: f64, (file, result)| {
                    Ok(worst.max(relative_error(&result, &stored.real(file)?)))
                })
            };
        let errors = self.quantities.iter().map(error).collect::<Result<Vec<f64>>>()?;
        Ok(self.names().into_iter().zip(errors).collect())
    }
}

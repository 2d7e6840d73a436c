//! The tape: a list of operations in the order they were recorded, and nothing else. No number is computed here.
//!
//! Handles ([`Var`], [`Index`]) are a tape's number and a node's number, so that they are `Copy` and have no lifetime;
//! a registry per thread finds the tape. This file knows nothing of derivatives and nothing of running.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::Array2;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::dtype::DType;
use crate::equal::Equal;
use crate::op::barrier::{self, Adjoint};
use crate::op::{Data, Leaf, Op};
use crate::tensor::{Shape, Value, size, size_if_fits};

/// A node's number on its tape. Operands always have smaller numbers than the node that uses them.
pub type NodeId = u32;

/// The operands of a node: two or fewer in almost every case.
pub type Operands = SmallVec<[NodeId; 3]>;

/// One recorded operation.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    pub operands: Operands,
    pub shape: Shape,
    pub dtype: DType,
    /// Where in the user's code it was recorded; for nodes of a derivative, where the operation they come from was.
    pub location: &'static Location<'static>,
    /// The derivative pass that recorded it; 0 for what no pass recorded.
    pub pass: u32,
    /// Of which limited surrogates it is an adjoint (see [`DerivativeLimit`](crate::DerivativeLimit)).
    pub adjoints: Box<[Adjoint]>,
}

/// A tape's contents.
#[derive(Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
    scope: Scope,
    /// Nodes made by derivative passes, so that a pass makes none twice. Users hold no handle to them (what they get
    /// is an alias), so that merging them cannot change what a derivative is taken with respect to.
    derived: Equal,
    /// What the placeholder of a mapped function's argument stands for.
    substitutes: FxHashMap<NodeId, NodeId>,
    /// The number of derivative passes so far.
    passes: u32,
    /// What has been evaluated.
    pub known: Known,
}

/// Values that evaluations have found, so that a later one starts there: a loop that looks at its own value would compute all of
/// its history each time.
///
/// Kept are the results, and of what was needed for an earlier evaluation what a later one reads of it: of xₖ₊₁ = f(xₖ), with a look
/// at each, xₖ. The oldest are forgotten beyond [`MOST_BYTES`](Self::MOST_BYTES).
#[derive(Debug, Default)]
pub struct Known {
    values: FxHashMap<NodeId, Data>,
    /// In the order in which they were found.
    order: VecDeque<NodeId>,
    bytes: usize,
    /// For each node, whether an evaluation has needed it.
    evaluated: Vec<bool>,
}

impl Known {
    /// What is kept at most.
    pub const MOST_BYTES: usize = 64 << 20;

    pub fn value(&self, node: NodeId) -> Option<&Data> {
        self.values.get(&node)
    }

    pub fn is_evaluated(&self, node: NodeId) -> bool {
        self.evaluated.get(node as usize).is_some_and(|&evaluated| evaluated)
    }

    /// Notes that these nodes, in their order, have been needed.
    pub fn evaluate(&mut self, nodes: &[NodeId]) {
        let Some(&last) = nodes.last() else { return };
        let length = self.evaluated.len().max(last as usize + 1);
        self.evaluated.resize(length, false);
        nodes.iter().for_each(|&node| self.evaluated[node as usize] = true);
    }

    pub fn keep(&mut self, node: NodeId, value: &Value<'static>) {
        let bytes = |value: &Value<'_>| size(value.shape()) * value.dtype().bytes();
        if bytes(value) > Self::MOST_BYTES || self.values.contains_key(&node) {
            return;
        }
        self.bytes += bytes(value);
        self.values.insert(node, value.clone().into());
        self.order.push_back(node);
        while self.bytes > Self::MOST_BYTES {
            let oldest = self.order.pop_front().and_then(|node| self.values.remove(&node));
            self.bytes -= bytes(oldest.expect("bytes are of something").value());
        }
    }
}

impl Graph {
    pub(crate) fn substitute(&mut self, placeholder: NodeId, batch: NodeId) {
        self.substitutes.insert(placeholder, batch);
    }

    pub(crate) fn new_pass(&mut self) -> u32 {
        self.passes += 1;
        self.passes
    }

    /// The outputs and all they depend on, in the order of the tape: what was recorded from `first` on, and is reached
    /// through operands that are to be `followed`.
    pub(crate) fn ancestors(
        &self,
        outputs: impl Iterator<Item = NodeId>,
        first: NodeId,
        followed: impl Fn(&Node, usize) -> bool,
    ) -> Vec<NodeId> {
        let outputs: Vec<NodeId> = outputs.filter(|&output| output >= first).collect();
        let Some(&last) = outputs.iter().max() else { return Vec::new() };
        let mut found = vec![false; (last - first) as usize + 1];
        outputs.iter().for_each(|&output| found[(output - first) as usize] = true);
        // Operands have smaller numbers: when the walk comes to a node, all that use it have been.
        for id in (first..=last).rev() {
            if found[(id - first) as usize] {
                let node = &self.nodes[id as usize];
                for (i, &operand) in node.operands.iter().enumerate() {
                    if operand >= first && followed(node, i) {
                        found[(operand - first) as usize] = true;
                    }
                }
            }
        }
        (first..=last).zip(found).filter_map(|(id, found)| found.then_some(id)).collect()
    }

    /// The outputs and all that has to be computed for them, in the order of the tape: of what is known, its value is enough.
    pub(crate) fn unknown_ancestors(&self, outputs: &[NodeId]) -> Vec<NodeId> {
        let mut found: FxHashSet<NodeId> = outputs.iter().copied().collect();
        let mut list: Vec<NodeId> = found.iter().copied().collect();
        let mut next = 0;
        while let Some(&id) = list.get(next) {
            next += 1;
            if self.known.value(id).is_none() {
                list.extend(self.nodes[id as usize].operands.iter().filter(|&&operand| found.insert(operand)));
            }
        }
        list.sort_unstable();
        list
    }

    /// The shapes of some nodes.
    fn shapes(&self, nodes: &[NodeId]) -> SmallVec<[&[usize]; 3]> {
        nodes.iter().map(|&node| self.nodes[node as usize].shape.as_slice()).collect()
    }

    fn dtypes(&self, nodes: &[NodeId]) -> SmallVec<[DType; 4]> {
        nodes.iter().map(|&node| self.nodes[node as usize].dtype).collect()
    }

    pub(crate) fn stands_for(&self, placeholder: NodeId) -> &[NodeId] {
        self.substitutes.get(&placeholder).map_or(&[], std::slice::from_ref)
    }
}

/// A tape to rewrite something on, for a while. Derivative passes are numbered as if they were on the tape that it is beside.
pub(crate) struct Scratch {
    tape: Tape,
    beside: u32,
}

impl Scratch {
    pub fn beside(tape: u32) -> Self {
        let scratch = Self { tape: Tape::new(), beside: tape };
        let passes = with_graph(tape, |graph| graph.passes);
        with_graph(scratch.id(), |graph| graph.passes = passes);
        scratch
    }

    pub fn id(&self) -> u32 {
        self.tape.id()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let passes = with_graph(self.id(), |graph| graph.passes);
        with_graph(self.beside, |graph| graph.passes = passes);
    }
}

/// How nodes are recorded at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Scope {
    /// Overrides the caller's location.
    location: Option<&'static Location<'static>>,
    /// Whether equal nodes are one.
    reuse: bool,
    /// The derivative pass that records, or 0.
    pass: u32,
}

/// Where operations are recorded. Dropping it frees them; a [`Var`] used after that panics.
///
/// ```
/// use ad::Tape;
/// let tape = Tape::new();
/// let x = tape.input("x", &ndarray::arr1(&[1.0, 2.0, 3.0]));
/// let loss = (x.sin().exp() * x).sum();
/// let gradient = loss.grad(x);                 // a Var like any other
/// let hessian = loss.hessian(x);
/// println!("{} {} {}", loss.value(), gradient.value(), hessian.value());
/// ```
#[derive(Debug)]
pub struct Tape {
    id: u32,
    thread: OfItsThread,
}

/// Why a [`Tape`], a [`Var`] or an [`Index`] is not `Send`: a handle's tape is looked up among those of its thread. What may go
/// to any thread is a [`Program`](crate::Program). (The type is only a name for the compiler to say.)
#[derive(Debug)]
pub enum TapesAndHandlesStayOnTheirThread {}

type OfItsThread = PhantomData<*const TapesAndHandlesStayOnTheirThread>;

/// The tapes of one thread, by number.
type Registry = FxHashMap<u32, Graph>;

fn with_registry<R>(f: impl FnOnce(&RefCell<Registry>) -> R) -> R {
    // Never dropped: a tape in another thread-local may be used, and drops, when the thread is ending.
    thread_local! {
        static REGISTRY: ManuallyDrop<RefCell<Registry>> =
            const { ManuallyDrop::new(RefCell::new(Registry::with_hasher(FxBuildHasher))) };
    }
    REGISTRY.with(|registry| f(registry))
}

/// An array on a tape: a number, vector, matrix … that has been recorded, not computed.
///
/// `Copy`, without a lifetime, and bound to the thread of its tape. Arithmetic broadcasts as in NumPy.
///
/// ```compile_fail,E0277
/// let tape = ad::Tape::new();
/// let x = tape.input("x", 1.0);
/// std::thread::spawn(move || x.sin());        // a Var stays on its thread; compile a Program, and send that
/// ```
pub struct Var {
    pub(crate) tape: u32,
    pub(crate) node: NodeId,
    made: &'static Location<'static>,
    thread: OfItsThread,
}

/// An array of integers on a tape: states, actions, masks. It has no derivative; [`Var::gather`] and friends use it.
pub struct Index {
    pub(crate) tape: u32,
    pub(crate) node: NodeId,
    made: &'static Location<'static>,
    thread: OfItsThread,
}

/// Either kind of handle: what [`Tape::compile`] takes as inputs and [`vmap`](crate::vmap) maps over.
#[derive(Clone, Copy, Debug)]
pub enum Handle {
    /// Numbers.
    Var(Var),
    /// Integers.
    Index(Index),
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // The graph is dropped outside the borrow: it may own a user's custom operations.
        let graph = with_registry(|registry| {
            let mut registry = registry.borrow_mut();
            let graph = registry.remove(&self.id);
            if registry.is_empty() {
                // It is not dropped with its thread, but has no memory then.
                *registry = Registry::default();
            }
            graph
        });
        drop(graph);
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = || NEXT.fetch_add(1, Ordering::Relaxed);
        // After 2^32 tapes numbers begin again, and a tape of this thread may have lived as long.
        let id = with_registry(|registry| {
            let registry = registry.borrow();
            std::iter::repeat_with(next).find(|id| !registry.contains_key(id)).expect("numbers do not end")
        });
        let graph = Graph {
            nodes: Vec::new(),
            scope: Scope::default(),
            derived: Equal::default(),
            substitutes: FxHashMap::default(),
            passes: 0,
            known: Known::default(),
        };
        with_registry(|registry| registry.borrow_mut().insert(id, graph));
        Self { id, thread: PhantomData }
    }

    /// An array that a [`Program`](crate::Program) can be run with other values of, of the same shape and type: floating-point
    /// numbers, or bytes. (Integers are for an [`index`](Self::index).)
    #[track_caller]
    pub fn input<'a>(&self, name: &str, value: impl Into<Value<'a>>) -> Var {
        let value = value.into();
        assert!(value.dtype() != DType::I32, "input `{name}`: integers are recorded by `Tape::index`");
        Var::recorded(self.id, record(self.id, Op::Leaf(Leaf::input(name, value.into())), &[]))
    }

    /// An array of `i32` integers that a [`Program`](crate::Program) can be run with other values of (of the same shape).
    #[track_caller]
    pub fn index<'a>(&self, name: &str, value: impl Into<Value<'a>>) -> Index {
        let value = value.into();
        let dtype = value.dtype();
        assert!(dtype == DType::I32, "index `{name}`: needs integers of type i32, got an array of {dtype}");
        Index::recorded(self.id, record(self.id, Op::Leaf(Leaf::input(name, value.into())), &[]))
    }

    /// An array of any type that a [`Program`](crate::Program) can be run with other values of: an [`index`](Self::index) of
    /// integers, an [`input`](Self::input) of all else.
    #[track_caller]
    pub fn input_or_index<'a>(&self, name: &str, value: impl Into<Value<'a>>) -> Handle {
        let value = value.into();
        match value.dtype() {
            DType::I32 => self.index(name, value).into(),
            _ => self.input(name, value).into(),
        }
    }

    /// An array that never changes, of floating-point numbers or bytes.
    #[track_caller]
    pub fn constant<'a>(&self, value: impl Into<Value<'a>>) -> Var {
        constant(self.id, value.into())
    }

    /// An array of one number everywhere, in double precision (see [`Var::cast`]). What is computed of it alone is computed when
    /// a program is compiled, and what it does not change, as 0 in a sum, is left out.
    #[track_caller]
    pub fn full(&self, shape: &[usize], number: f64) -> Var {
        if size_if_fits(shape, DType::F64.bytes()).is_none() {
            panic!("full: an array of shape {shape:?} is larger than any memory");
        }
        Var::recorded(self.id, record(self.id, Op::Leaf(Leaf::fill(number, DType::F64, shape)), &[]))
    }

    /// [`full`](Self::full) of 0.
    #[track_caller]
    pub fn zeros(&self, shape: &[usize]) -> Var {
        self.full(shape, 0.0)
    }

    /// [`full`](Self::full) of 1.
    #[track_caller]
    pub fn ones(&self, shape: &[usize]) -> Var {
        self.full(shape, 1.0)
    }

    /// The identity matrix of n rows, in double precision.
    #[track_caller]
    pub fn eye(&self, n: usize) -> Var {
        if size_if_fits(&[n, n], DType::F64.bytes()).is_none() {
            panic!("eye: a matrix of {n} rows and columns is larger than any memory");
        }
        self.constant(Array2::<f64>::eye(n))
    }

    /// The number of nodes recorded so far, derivatives included.
    pub fn len(&self) -> usize {
        with_graph(self.id, |graph| graph.nodes.len())
    }

    /// Whether nothing has been recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

macro_rules! handle {
    ($name:ident, $variant:ident) => {
        impl Clone for $name {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl Copy for $name {}
        impl From<$name> for Handle {
            fn from(handle: $name) -> Self {
                Handle::$variant(handle)
            }
        }
        impl From<&$name> for Handle {
            fn from(handle: &$name) -> Self {
                Handle::$variant(*handle)
            }
        }
        impl From<&$name> for $name {
            fn from(handle: &$name) -> Self {
                *handle
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}(%{} of tape {}, made at {})", stringify!($name), self.node, self.tape, self.made)
            }
        }
        impl $name {
            #[track_caller]
            pub(crate) fn recorded(tape: u32, node: NodeId) -> Self {
                Self { tape, node, made: Location::caller(), thread: PhantomData }
            }

            /// The lengths of its axes.
            #[track_caller]
            pub fn shape(self) -> Shape {
                self.with_node(|node| node.shape.clone())
            }

            /// The type of its entries.
            #[track_caller]
            pub fn dtype(self) -> DType {
                self.with_node(|node| node.dtype)
            }

            /// The number of its entries.
            #[track_caller]
            pub fn size(self) -> usize {
                self.with_node(|node| crate::tensor::size(&node.shape))
            }

            /// Where in the user's code it was made. For a derivative, where the operation it comes from was.
            #[track_caller]
            pub fn location(self) -> &'static Location<'static> {
                self.with_node(|node| node.location)
            }

            #[track_caller]
            pub(crate) fn with_node<R>(self, f: impl FnOnce(&Node) -> R) -> R {
                self.check_alive();
                with_graph(self.tape, |graph| f(&graph.nodes[self.node as usize]))
            }

            #[track_caller]
            pub(crate) fn check_alive(self) {
                if !with_registry(|registry| registry.borrow().contains_key(&self.tape)) {
                    panic!(
                        "this {}, made at {}, belongs to a tape that has been dropped, or is another thread's; keep the Tape \
                         alive for as long as its handles are used, on their thread",
                        stringify!($name),
                        self.made
                    );
                }
            }
        }
    };
}
handle!(Var, Var);
handle!(Index, Index);

impl Var {
    #[track_caller]
    pub(crate) fn check_same_tape(self, operation: &str, other: impl Into<Handle>) {
        Handle::from(self).check_same_tape(operation, other.into());
    }

    /// Panics unless the other is of the same type.
    #[track_caller]
    pub(crate) fn check_same_dtype(self, operation: &str, other: Self) {
        self.check_dtype(operation, other.dtype(), other.location());
    }

    /// Panics unless it is of this type, as another operand made there is.
    #[track_caller]
    pub(crate) fn check_dtype(self, operation: &str, other: DType, made: &'static Location<'static>) {
        let own = self.dtype();
        if own != other {
            panic!(
                "{operation}: operands of types {own} and {other}; `cast` one of them\n  operand made at {}\n  operand made \
                 at {made}",
                self.location()
            );
        }
    }

    #[track_caller]
    pub(crate) fn check_same_tape_all<H: Into<Handle> + Copy>(self, operation: &str, others: &[H]) {
        self.check_alive();
        for &other in others {
            self.check_same_tape(operation, other);
        }
    }
}

impl From<&Handle> for Handle {
    fn from(handle: &Handle) -> Self {
        *handle
    }
}

impl Handle {
    pub(crate) fn node(self) -> NodeId {
        match self {
            Handle::Var(var) => var.node,
            Handle::Index(index) => index.node,
        }
    }

    pub(crate) fn tape(self) -> u32 {
        match self {
            Handle::Var(var) => var.tape,
            Handle::Index(index) => index.tape,
        }
    }

    pub(crate) fn made(self) -> &'static Location<'static> {
        match self {
            Handle::Var(var) => var.made,
            Handle::Index(index) => index.made,
        }
    }

    /// The lengths of its axes.
    #[track_caller]
    pub fn shape(self) -> Shape {
        match self {
            Handle::Var(var) => var.shape(),
            Handle::Index(index) => index.shape(),
        }
    }

    /// The type of its entries.
    #[track_caller]
    pub fn dtype(self) -> DType {
        match self {
            Handle::Var(var) => var.dtype(),
            Handle::Index(index) => index.dtype(),
        }
    }

    /// The numbers. Panics on an [`Index`].
    #[track_caller]
    pub fn var(self) -> Var {
        match self {
            Handle::Var(var) => var,
            Handle::Index(index) => panic!("expected a Var, got {index:?}"),
        }
    }

    /// The integers. Panics on a [`Var`].
    #[track_caller]
    pub fn index(self) -> Index {
        match self {
            Handle::Index(index) => index,
            Handle::Var(var) => panic!("expected an Index, got {var:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn check_same_tape(self, operation: &str, other: Self) {
        match self {
            Handle::Var(var) => var.check_alive(),
            Handle::Index(index) => index.check_alive(),
        }
        if self.tape() != other.tape() {
            panic!(
                "{operation}: operands of two tapes: one was made at {}, the other at {}; record both on one \
                 tape, or bring a number over with `constant`",
                self.made(),
                other.made()
            );
        }
    }

    /// See [`Var::unchanged`].
    #[track_caller]
    pub(crate) fn unchanged(self) -> Self {
        match self {
            Handle::Var(var) => var.unchanged().into(),
            Handle::Index(index) => index.unchanged().into(),
        }
    }

    #[track_caller]
    pub(crate) fn recorded(tape: u32, node: NodeId) -> Self {
        match with_graph(tape, |graph| graph.nodes[node as usize].dtype) {
            DType::I32 => Index::recorded(tape, node).into(),
            DType::F64 | DType::F32 | DType::U8 => Var::recorded(tape, node).into(),
        }
    }
}

/// Runs `f` on a tape's contents. Nothing of the user's runs inside `f`.
pub(crate) fn with_graph<R>(tape: u32, f: impl FnOnce(&mut Graph) -> R) -> R {
    with_registry(|registry| {
        let mut registry = registry.borrow_mut();
        f(registry.get_mut(&tape).expect("the caller has checked that the tape is alive"))
    })
}

/// Appends an operation, after asking it for its result's shape. Panics where the operands do not suit it.
#[track_caller]
pub(crate) fn record(tape: u32, op: Op, operands: &[NodeId]) -> NodeId {
    let caller = Location::caller();
    let dtype = match with_graph(tape, |graph| op.rules().dtype(&graph.dtypes(operands))) {
        Ok(dtype) => dtype,
        Err(problem) => panic!("{}: {problem}{}", op.rules().name(), origins(tape, operands)),
    };
    let shape = match &op {
        // The rule is the user's: it runs outside the borrow.
        Op::Custom(_) => {
            let shapes: SmallVec<[Shape; 3]> =
                with_graph(tape, |graph| graph.shapes(operands).into_iter().map(Shape::from_slice).collect());
            op.rules().shape(&shapes.iter().map(Shape::as_slice).collect::<SmallVec<[&[usize]; 3]>>())
        }
        op => with_graph(tape, |graph| op.rules().shape(&graph.shapes(operands))),
    };
    let shape = match shape {
        Ok(shape) => shape,
        Err(problem) => panic!("{}: {problem}{}", op.rules().name(), origins(tape, operands)),
    };
    if size_if_fits(&shape, dtype.bytes()).is_none() {
        panic!(
            "{}: a result of shape {shape:?} is larger than any memory{}",
            op.rules().name(),
            origins(tape, operands)
        );
    }
    with_graph(tape, |graph| {
        let location = graph.scope.location.unwrap_or(caller);
        if graph.scope.reuse {
            let nodes = &graph.nodes;
            let is_equal = |id: usize| nodes[id].op == op && nodes[id].operands.as_slice() == operands;
            if let Some(equal) = graph.derived.find_or_insert((&op, operands), nodes.len(), is_equal) {
                return equal as NodeId;
            }
        }
        let mut of_operands = operands.iter().map(|&operand| graph.nodes[operand as usize].adjoints.as_ref());
        let adjoints = barrier::adjoints(&op, &mut of_operands);
        let pass = graph.scope.pass;
        let node = NodeId::try_from(graph.nodes.len()).expect("a tape has at most 2^32 nodes");
        graph.nodes.push(Node { op, operands: Operands::from_slice(operands), shape, dtype, location, pass, adjoints });
        node
    })
}

/// Where operands come from, a line each.
fn origins(tape: u32, operands: &[NodeId]) -> String {
    with_graph(tape, |graph| {
        let locations = operands.iter().map(|&operand| graph.nodes[operand as usize].location);
        locations.map(|at| format!("\n  operand made at {at}")).collect()
    })
}

/// The place that an operation recorded now comes from.
#[track_caller]
pub(crate) fn here(tape: u32) -> &'static Location<'static> {
    let caller = Location::caller();
    with_graph(tape, |graph| graph.scope.location.unwrap_or(caller))
}

/// Whether equal nodes are one at the moment: in a derivative pass, which hands out none of them.
pub(crate) fn is_reusing(tape: u32) -> bool {
    with_graph(tape, |graph| graph.scope.reuse)
}

#[track_caller]
pub(crate) fn constant(tape: u32, value: Value<'_>) -> Var {
    assert!(
        value.dtype() != DType::I32,
        "constant: integers are recorded by `Tape::constant_index` (beside a Var, `Index::constant`), or `Tape::index`"
    );
    Var::recorded(tape, record(tape, Op::Leaf(Leaf::Constant(value.into())), &[]))
}

#[track_caller]
pub(crate) fn constant_index(tape: u32, value: Value<'_>) -> Index {
    let dtype = value.dtype();
    assert!(dtype == DType::I32, "constant index: needs integers of type i32, got an array of {dtype}");
    Index::recorded(tape, record(tape, Op::Leaf(Leaf::Constant(value.into())), &[]))
}

/// While it lives, nodes are recorded as coming from elsewhere than the caller, and equal ones may be one.
pub(crate) struct Recording {
    tape: u32,
    before: Scope,
}

impl Recording {
    /// By derivative pass number `pass`, for the sake of an operation recorded at `location`.
    pub(crate) fn derivative(tape: u32, location: &'static Location<'static>, pass: u32, reuse: bool) -> Self {
        Self::start(tape, Scope { location: Some(location), reuse, pass })
    }

    /// In the place of a node recorded at `location` by pass number `pass`.
    pub(crate) fn in_place_of(tape: u32, location: &'static Location<'static>, pass: u32) -> Self {
        Self::start(tape, Scope { location: Some(location), reuse: false, pass })
    }

    /// As if the caller recorded it, a user or a derivative rule: for placeholders, which must be nodes of their own.
    #[track_caller]
    pub(crate) fn fresh(tape: u32) -> Self {
        Self::in_place_of(tape, here(tape), 0)
    }

    fn start(tape: u32, scope: Scope) -> Self {
        let before = with_graph(tape, |graph| std::mem::replace(&mut graph.scope, scope));
        Self { tape, before }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let before = self.before;
        with_registry(|registry| {
            if let Some(graph) = registry.borrow_mut().get_mut(&self.tape) {
                graph.scope = before;
            }
        });
    }
}

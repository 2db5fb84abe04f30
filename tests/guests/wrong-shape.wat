;; Not from the skeleton: exports an interface of the right name whose evaluate returns a number.
(component
  (core module $m (func (export "evaluate") (result i32) (i32.const 7)))
  (core instance $i (instantiate $m))
  (func $evaluate (result u32) (canon lift (core func $i "evaluate")))
  (instance $decide (export "evaluate" (func $evaluate)))
  (export "keyward:policy/decide@0.1.0" (instance $decide)))

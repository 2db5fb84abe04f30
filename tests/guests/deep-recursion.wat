;; Calls itself until the stack ends.
;;@evaluate
(func $deeper (param i32) (result i32)
  (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (call $deeper (i32.const 0)))
;;@end

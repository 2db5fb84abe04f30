;; Raises a signal that it does not list.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (call $put (i32.const 2588) (i32.const 3000) (i32.const 1))
  (call $put (i32.const 3000) (i32.const 1067) (i32.const 12))
  (call $put (i32.const 3008) (i32.const 0) (i32.const 0))
  (i32.const 2560))
;;@end

;; A reason with one parameter of 20 KiB: more than the budget of a verdict, less than what the
;; engine passes at once.
;;@memory
(memory (export "memory") 2)
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (call $put (i32.const 2580) (i32.const 3000) (i32.const 1))
  (call $put (i32.const 3000) (i32.const 1046) (i32.const 5))
  (call $put (i32.const 3008) (i32.const 65536) (i32.const 20480))
  (i32.const 2560))
;;@end

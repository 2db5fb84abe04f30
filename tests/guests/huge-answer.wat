;; A reason whose code is a megabyte of zeros.
;;@memory
(memory (export "memory") 32)
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (call $put (i32.const 2572) (i32.const 65536) (i32.const 1048576))
  (i32.const 2560))
;;@end

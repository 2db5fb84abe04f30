;; Writes to the log until its fuel is used up. Nobody reads it.
;;@imports
(import "keyward:policy/log@0.1.0" "write" (func $write (param i32 i32 i32)))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (loop $again
    (call $write (i32.const 0) (i32.const 4096) (i32.const 60000))
    (br $again))
  (unreachable))
;;@end

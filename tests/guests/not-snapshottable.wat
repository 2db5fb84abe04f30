;; Counts how often it was configured, in a global; a vector global beside it keeps it from being
;; snapshotted, so that every instance is configured anew. Twice configured would be a trap.
;;@imports
(global $vector (mut v128) (v128.const i64x2 0 0))
(global $configured (mut i32) (i32.const 0))
;;@end
;;@configure
(func (export "keyward:policy/decide@0.1.0#configure") (param i32 i32) (result i32)
  (global.set $configured (i32.add (global.get $configured) (i32.const 1)))
  (global.set $vector (v128.const i64x2 1 2))
  (i32.store8 (i32.const 2500) (i32.const 0))
  (i32.const 2500))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (if (i32.ne (global.get $configured) (i32.const 1)) (then (unreachable)))
  (call $allow))
;;@end

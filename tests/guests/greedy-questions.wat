;; Few questions, long answers: the key's scopes until the budget of answers is used up. The heap
;; starts again for each, so that it is not memory that ends it.
;;@imports
(import "keyward:policy/request@0.1.0" "key-scopes" (func $scopes (param i32)))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (local $i i32)
  (loop $next
    (global.set $heap (i32.const 4096))
    (call $scopes (i32.const 3000))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 900))))
  (call $allow))
;;@end

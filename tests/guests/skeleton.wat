;; The policy that every guest here is, but for the parts that it replaces: a core module in the
;; canonical ABI, made into a component by the tests. A guest file holds sections `;;@name`, each of
;; which replaces the section of that name below.
(module
  ;;@imports
  ;;@end

  ;;@memory
  (memory (export "memory") 1)
  ;;@end

  ;; 1024: texts. 2048: descriptor. 2112: reasons. 2560: what evaluate returns. 4096: heap.
  (data (i32.const 1024) "test:guest1.0.0a guestguest.allowguest.denyguest.signal")
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    ;; Up to the alignment asked for, then bump.
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; Stores a pointer and a length.
  (func $put (param $at i32) (param $text i32) (param $length i32)
    (i32.store (local.get $at) (local.get $text))
    (i32.store offset=4 (local.get $at) (local.get $length)))

  ;;@describe
  (func (export "keyward:policy/decide@0.1.0#describe") (result i32)
    (call $put (i32.const 2048) (i32.const 1024) (i32.const 10)) ;; name
    (call $put (i32.const 2056) (i32.const 1034) (i32.const 5))  ;; version
    (call $put (i32.const 2064) (i32.const 1039) (i32.const 7))  ;; summary
    (call $put (i32.const 2072) (i32.const 0) (i32.const 0))     ;; needs
    (call $put (i32.const 2080) (i32.const 2112) (i32.const 2))  ;; reasons
    (call $put (i32.const 2112) (i32.const 1046) (i32.const 11)) ;; guest.allow
    (call $put (i32.const 2120) (i32.const 0) (i32.const 0))
    (call $put (i32.const 2128) (i32.const 0) (i32.const 0))
    (call $put (i32.const 2136) (i32.const 1057) (i32.const 10)) ;; guest.deny
    (call $put (i32.const 2144) (i32.const 0) (i32.const 0))
    (call $put (i32.const 2152) (i32.const 0) (i32.const 0))
    (call $put (i32.const 2088) (i32.const 0) (i32.const 0))     ;; signals
    (call $put (i32.const 2096) (i32.const 0) (i32.const 0))     ;; obligations
    (call $put (i32.const 2104) (i32.const 0) (i32.const 0))     ;; settings schema
    (i32.const 2048))
  ;;@end

  ;;@configure
  (func (export "keyward:policy/decide@0.1.0#configure") (param i32 i32) (result i32)
    (i32.store8 (i32.const 2500) (i32.const 0))
    (i32.const 2500))
  ;;@end

  ;; Allows with the reason `guest.allow`.
  (func $allow (result i32)
    (i32.store8 (i32.const 2560) (i32.const 0))  ;; ok
    (i32.store8 (i32.const 2564) (i32.const 1))  ;; allow
    (i32.store8 (i32.const 2568) (i32.const 1))  ;; some reason
    (call $put (i32.const 2572) (i32.const 1046) (i32.const 11))
    (call $put (i32.const 2580) (i32.const 0) (i32.const 0))
    (call $put (i32.const 2588) (i32.const 0) (i32.const 0)) ;; signals
    (call $put (i32.const 2596) (i32.const 0) (i32.const 0)) ;; obligations
    (i32.const 2560))

  ;;@evaluate
  (func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
    (call $allow))
  ;;@end
)

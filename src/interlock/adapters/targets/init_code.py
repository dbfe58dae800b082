"""The init of a sandbox, as the machine's own code: on each line what the machine reads, and after the semicolon how an
assembler writes it. `{program}` and `{report}` are the instructions that load the numbers of its two descriptors.

    each, kept    of the variables, keep those that begin with +, without it; be no one's to look into; let the command have
                  neither descriptor; tell 0; fork
    wait          collect whoever ends, until it is the command; tell its status; end as it did
    child         become the command, or tell the error (below 0)
"""

from typing import Final

X86_64: Final = """
  48 89 e3              ; mov rbx,rsp
  48 8b 03              ; mov rax,[rbx]
  48 8d 6c c3 10        ; lea rbp,[rbx+rax*8+16]
  48 89 ee              ; mov rsi,rbp
  48 89 ef              ; mov rdi,rbp
each:
  48 ad                 ; lods rax,[rsi]
  48 85 c0              ; test rax,rax
  74 0c                 ; je kept
  80 38 2b              ; cmp byte [rax],43
  75 f4                 ; jne each
  48 ff c0              ; inc rax
  48 ab                 ; stos [rdi],rax
  eb ed                 ; jmp each
kept:
  48 ab                 ; stos [rdi],rax
  50                    ; push rax
  bf 04 00 00 00        ; mov edi,4
  31 f6                 ; xor esi,esi
  b8 9d 00 00 00        ; mov eax,157 (prctl)
  0f 05                 ; syscall
  {program}             ; mov edi,program
  be 02 00 00 00        ; mov esi,2
  ba 01 00 00 00        ; mov edx,1
  b8 48 00 00 00        ; mov eax,72 (fcntl)
  0f 05                 ; syscall
  {report}              ; mov edi,report
  b8 48 00 00 00        ; mov eax,72 (fcntl)
  0f 05                 ; syscall
  e8 90 00 00 00        ; call tell
  bf 11 00 00 00        ; mov edi,17
  31 f6                 ; xor esi,esi
  31 d2                 ; xor edx,edx
  45 31 d2              ; xor r10d,r10d
  45 31 c0              ; xor r8d,r8d
  b8 38 00 00 00        ; mov eax,56 (clone)
  0f 05                 ; syscall
  41 89 c4              ; mov r12d,eax
  85 c0                 ; test eax,eax
  74 4d                 ; je child
  78 5d                 ; js failed
wait:
  48 c7 c7 ff ff ff ff  ; mov rdi,-1
  48 89 e6              ; mov rsi,rsp
  31 d2                 ; xor edx,edx
  45 31 d2              ; xor r10d,r10d
  b8 3d 00 00 00        ; mov eax,61 (wait4)
  0f 05                 ; syscall
  85 c0                 ; test eax,eax
  78 4b                 ; js lost
  44 39 e0              ; cmp eax,r12d
  75 e1                 ; jne wait
  e8 4d 00 00 00        ; call tell
  8b 34 24              ; mov esi,[rsp]
  83 e6 7f              ; and esi,127
  74 18                 ; je exited
  b8 27 00 00 00        ; mov eax,39 (getpid)
  0f 05                 ; syscall
  89 c7                 ; mov edi,eax
  b8 3e 00 00 00        ; mov eax,62 (kill)
  0f 05                 ; syscall
  8d be 80 00 00 00     ; lea edi,[rsi+128]
  eb 26                 ; jmp exit
exited:
  0f b6 7c 24 01        ; movzx edi,byte [rsp+1]
  eb 1f                 ; jmp exit
child:
  48 8b 7b 10           ; mov rdi,[rbx+16]
  48 8d 73 10           ; lea rsi,[rbx+16]
  48 89 ea              ; mov rdx,rbp
  b8 3b 00 00 00        ; mov eax,59 (execve)
  0f 05                 ; syscall
failed:
  89 04 24              ; mov [rsp],eax
  e8 0c 00 00 00        ; call tell
lost:
  bf 7f 00 00 00        ; mov edi,127
exit:
  b8 e7 00 00 00        ; mov eax,231 (exit_group)
  0f 05                 ; syscall
tell:
  {report}              ; mov edi,report
  48 8d 74 24 08        ; lea rsi,[rsp+8]
  ba 04 00 00 00        ; mov edx,4
  b8 01 00 00 00        ; mov eax,1 (write)
  0f 05                 ; syscall
  c3                    ; ret
"""

AARCH64: Final = """
  910003f3              ; mov x19, sp
  f9400260              ; ldr x0, [x19]
  8b000e74              ; add x20, x19, x0, lsl 3
  91004294              ; add x20, x20, 16
  aa1403e1              ; mov x1, x20
  aa1403e2              ; mov x2, x20
each:
  f8408420              ; ldr x0, [x1], 8
  b40000c0              ; cbz x0, kept
  38401403              ; ldrb w3, [x0], 1
  7100ac7f              ; cmp w3, 43
  54ffff81              ; b.ne each
  f8008440              ; str x0, [x2], 8
  17fffffa              ; b each
kept:
  f900005f              ; str xzr, [x2]
  f81f0fff              ; str xzr, [sp, -16]!
  52800080              ; mov w0, 4
  52800001              ; mov w1, 0
  528014e8              ; mov w8, 167 (prctl)
  d4000001              ; svc 0
  {program}             ; mov w0, program
  52800041              ; mov w1, 2
  52800022              ; mov w2, 1
  52800328              ; mov w8, 25 (fcntl)
  d4000001              ; svc 0
  {report}              ; mov w0, report
  d4000001              ; svc 0
  9400002a              ; bl tell
  52800220              ; mov w0, 17
  d2800001              ; mov x1, 0
  d2800002              ; mov x2, 0
  d2800003              ; mov x3, 0
  d2800004              ; mov x4, 0
  52801b88              ; mov w8, 220 (clone)
  d4000001              ; svc 0
  2a0003f5              ; mov w21, w0
  340002e0              ; cbz w0, child
  37f80360              ; tbnz w0, 31, failed
wait:
  92800000              ; mov x0, -1
  910003e1              ; mov x1, sp
  52800002              ; mov w2, 0
  d2800003              ; mov x3, 0
  52802088              ; mov w8, 260 (wait4)
  d4000001              ; svc 0
  37f802c0              ; tbnz w0, 31, lost
  6b15001f              ; cmp w0, w21
  54ffff01              ; b.ne wait
  94000016              ; bl tell
  b94003e1              ; ldr w1, [sp]
  72001821              ; ands w1, w1, 127
  540000e0              ; b.eq exited
  52801588              ; mov w8, 172 (getpid)
  d4000001              ; svc 0
  52801028              ; mov w8, 129 (kill)
  d4000001              ; svc 0
  11020020              ; add w0, w1, 128
  1400000b              ; b exit
exited:
  394007e0              ; ldrb w0, [sp, 1]
  14000009              ; b exit
child:
  91004261              ; add x1, x19, 16
  f9400020              ; ldr x0, [x1]
  aa1403e2              ; mov x2, x20
  52801ba8              ; mov w8, 221 (execve)
  d4000001              ; svc 0
failed:
  b90003e0              ; str w0, [sp]
  94000004              ; bl tell
lost:
  52800fe0              ; mov w0, 127
exit:
  52800bc8              ; mov w8, 94 (exit_group)
  d4000001              ; svc 0
tell:
  {report}              ; mov w0, report
  910003e1              ; mov x1, sp
  52800082              ; mov w2, 4
  52800808              ; mov w8, 64 (write)
  d4000001              ; svc 0
  d65f03c0              ; ret
"""

/* bg_parallel_for: POSIX threads by default, OpenMP or no threads at all on request.
 *
 * Why not OpenMP everywhere: its idle threads spin for milliseconds, which starves the very thread they wait for as
 * soon as another process wants a core, and a forked child that inherits its pool hangs. Here idle threads spin for
 * some microseconds and then sleep, work is handed out in chunks, and a forked child starts with an empty pool. */
#include "kernels.h"

#if defined(BOOSTGRAD_SERIAL) || (defined(_WIN32) && !defined(_OPENMP))

void bg_parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads)
{
    (void)n_threads;
    for (int64_t chunk = 0; chunk < n_chunks; chunk++)
        task(context, chunk, 0);
}

const char *bg_threading(void) { return "serial"; }

#elif defined(BOOSTGRAD_OPENMP) || defined(_WIN32)
#include <omp.h>

void bg_parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads)
{
    if (n_threads > n_chunks)
        n_threads = (int)n_chunks;
    if (n_threads <= 1) {
        for (int64_t chunk = 0; chunk < n_chunks; chunk++)
            task(context, chunk, 0);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
    for (int64_t chunk = 0; chunk < n_chunks; chunk++)
        task(context, chunk, omp_get_thread_num());
}

const char *bg_threading(void) { return "openmp"; }

#else
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define SPIN_NANOSECONDS 30000

typedef struct job {
    bg_task task;
    void *context;
    int64_t n_chunks;
    _Atomic int64_t next;
    int joined, max_workers; /* under the lock */
    _Atomic int active;      /* helpers at work; lowered under the lock */
    struct job *following;
} job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    job *jobs;
    int n_threads, n_asleep;
    _Atomic int n_open; /* jobs that still want helpers */
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, 0};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void work(job *j, int worker)
{
    int64_t chunk;
    while ((chunk = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->n_chunks)
        j->task(j->context, chunk, worker);
}

/* Under the lock: a job that wants one more helper. */
static job *open_job(void)
{
    for (job *j = pool.jobs; j; j = j->following)
        if (j->joined < j->max_workers)
            return j;
    return NULL;
}

static void *helper(void *unused)
{
    (void)unused;
    for (;;) {
        int64_t until = nanoseconds() + SPIN_NANOSECONDS;
        while (atomic_load_explicit(&pool.n_open, memory_order_acquire) == 0 && nanoseconds() < until)
            for (int k = 0; k < 32; k++)
                relax();
        pthread_mutex_lock(&pool.lock);
        job *j;
        while ((j = open_job()) == NULL) {
            pool.n_asleep++;
            pthread_cond_wait(&pool.wake, &pool.lock);
            pool.n_asleep--;
        }
        int worker = ++j->joined;
        atomic_fetch_add(&j->active, 1);
        if (j->joined == j->max_workers)
            atomic_fetch_sub(&pool.n_open, 1);
        pthread_mutex_unlock(&pool.lock);
        work(j, worker);
        pthread_mutex_lock(&pool.lock);
        if (atomic_fetch_sub(&j->active, 1) == 1)
            pthread_cond_broadcast(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void forget_threads_in_child(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.jobs = NULL;
    pool.n_threads = pool.n_asleep = 0;
    atomic_store(&pool.n_open, 0);
}

/* Under the lock. Fewer threads than wanted is no error: the caller does the work itself. */
static void hire(int n_threads)
{
    static int fork_is_watched;
    if (!fork_is_watched)
        fork_is_watched = pthread_atfork(NULL, NULL, forget_threads_in_child) == 0;
    if (pool.n_threads >= n_threads)
        return;
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the threads of Python */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.n_threads < n_threads) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, helper, NULL) != 0)
            break;
        pthread_detach(thread);
        pool.n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void bg_parallel_for(bg_task task, void *context, int64_t n_chunks, int n_threads)
{
    if (n_threads > n_chunks)
        n_threads = (int)n_chunks;
    if (n_threads <= 1) {
        for (int64_t chunk = 0; chunk < n_chunks; chunk++)
            task(context, chunk, 0);
        return;
    }
    job j = {.task = task, .context = context, .n_chunks = n_chunks, .max_workers = n_threads - 1};
    pthread_mutex_lock(&pool.lock);
    hire(n_threads - 1);
    j.following = pool.jobs;
    pool.jobs = &j;
    atomic_fetch_add(&pool.n_open, 1);
    if (pool.n_asleep > 0) {
        if (n_threads == 2)
            pthread_cond_signal(&pool.wake);
        else
            pthread_cond_broadcast(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);

    work(&j, 0);

    pthread_mutex_lock(&pool.lock); /* nobody joins from here on */
    job **link = &pool.jobs;
    while (*link != &j)
        link = &(*link)->following;
    *link = j.following;
    if (j.joined < j.max_workers)
        atomic_fetch_sub(&pool.n_open, 1);
    pthread_mutex_unlock(&pool.lock);

    int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    while (atomic_load_explicit(&j.active, memory_order_acquire) > 0 && nanoseconds() < until)
        for (int k = 0; k < 32; k++)
            relax();
    pthread_mutex_lock(&pool.lock); /* the last helper lets go of j under the lock */
    while (atomic_load(&j.active) > 0)
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

const char *bg_threading(void) { return "pthreads"; }
#endif

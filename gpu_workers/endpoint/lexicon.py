"""English words by what they make a listener expect. Data for `completeness`, nothing else."""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


def _phrases(listed: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in listed.split("|"))


#: A noun must follow.
DETERMINERS = _words("a an the my your his its our their every each some any no another which whose")

#: Something must follow, but for a few at the end of questions ("what is it for?").
PREPOSITIONS = _words(
    """against among as at because below between beyond during except for from into like of onto per since than to
    toward towards under until till upon versus via with within without"""
)

#: Prepositions that also end sentences ("turn it on", "what is it about").
PARTICLES = _words(
    "about above across after along around before behind by in inside near off on out over through up down"
)

CONJUNCTIONS = _words(
    """and but or nor so because if unless although though while whereas whether that when where who whom how until
    since then plus also however therefore why what"""
)

#: A verb or a complement must follow, unless they answer ("yes, I am", "I do").
AUXILIARIES = _words(
    """am is are was were be been being do does did have has had will would shall should can could may might must
    i'm i'd i'll i've you're you'd you'll you've he's he'd he'll she's she'd she'll it's it'll it'd we're we'd we'll
    we've they're they'd they'll they've that's there's here's what's who's where's how's let's gonna wanna gotta
    isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't wouldn't can't cannot couldn't
    shouldn't not"""
)

#: Their verb must follow.
SUBJECTS = _words("i we he she they")

#: Something to be measured or named must follow.
DEGREES = _words(
    """very really quite rather pretty just only even almost nearly exactly roughly approximately maybe perhaps
    probably actually basically mostly usually always never still more most less least first second third last next
    other kind sort type lot bit couple few several different new big small good own"""
)

FILLERS = _words("um uh er erm hm hmm mm uhm umm uhh ah eh well so")

#: Verbs that lack an object at the end of a sentence, most of the time.
TRANSITIVES = _words(
    """want need book order buy get make give tell send find take bring put set add show use create reserve schedule
    move transfer check cancel prefer include mean think say said guess hope suppose believe wonder wish try tried
    trying wanted needed needs wants got looking going planning hoping thinking wondering called named spelled love
    enjoy hate contact reach visit meet remind mention"""
)

#: After these at the end more must come.
OPENINGS = _phrases(
    """i'd like to | i'd like | i would like to | i would like | i want to | i want | i need to | i need | could you
    | could you please | can you | can you please | would you | would you mind | do you | did you | are you | is there
    | is it | are there | do you have | do you know | i was | i have | i think | i guess | i mean | you know | let me
    | let me see | let me think | my name is | name is | my number is | number is | email is | address is | it is
    | there is | there are | such as | for example | for instance | first of all | in order to | as well as | a lot of
    | kind of | sort of | a couple of | one of | because of | instead of | the reason is | the thing is | i mean is
    | the problem is | i was wondering if | i was wondering | how about | what about | tell me about | looking for
    | please call | it starts with | reach me at | let's say | let's see | at least | on the other hand | by the way
    | to be honest | the one with | give me | hold on | one moment | one second | wait | okay so | basically"""
)

#: A clause that begins with one of these wants a main clause.
SUBORDINATORS = _words(
    "if when because although though since while unless before after once until whenever whereas as"
)

#: Begin a question.
ASKING = _words(
    """what when where who whom whose why how which is are was were am do does did can could will would shall should
    may might have has had isn't aren't don't doesn't didn't can't couldn't won't wouldn't haven't what's who's
    where's how's when's"""
)

#: Whole turns by themselves.
ANSWERS = _phrases(
    """yes | no | yeah | yep | yup | nope | nah | sure | okay | ok | right | alright | all right | correct | exactly
    | absolutely | definitely | of course | please | yes please | no thanks | no thank you | thanks | thank you
    | thanks a lot | thank you very much | hello | hi | hey | hi there | hello there | good morning | good evening
    | good afternoon | good night | bye | goodbye | bye bye | see you | see you later | never mind | stop | cancel
    | maybe | maybe later | not really | not yet | not now | i do | i don't | i did | i am | i'm not | i will | i won't
    | i can | i can't | i know | i don't know | i don't think so | i think so | i guess so | i hope so | that's it
    | that's all | that's right | that's fine | that's correct | that is all | that's okay | go on | go ahead | continue
    | next | again | repeat | repeat that | help | got it | i see | no problem | you're welcome | great | perfect | good
    | fine | nice | cool | why | why not | how | when | where | who | what | really | me too | neither | both | nothing
    | nothing else | none | tomorrow | today | tonight | yesterday | now | it is | it does | it was | it's not
    | they are | we are | we do | we will | yes it is | yes i do | yes i am | no i don't | no it isn't | he is | she is
    | sounds good | sounds great"""
)

#: Close what they end.
COURTESIES = _words(
    "please thanks bye goodbye tomorrow today tonight now again instead together anymore yet too either though else"
)

DIGITS = _words("zero oh one two three four five six seven eight nine double triple")

NUMBERS = DIGITS | _words(
    """ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty
    seventy eighty ninety hundred thousand million"""
)

#: A number of many digits is on its way.
NUMBER_WORDS = _words("phone number telephone mobile cell dial code account card booking reference zip order")

#: Last parts of an e-mail address or a site.
DOMAINS = _words("com org net edu gov uk de fr io eu info co ai")

#: Something is dictated, a letter or a digit at a time.
CODES = _words(
    """spell spelled spelling password plate code serial license licence reference underscore dash hyphen slash email
    mail called extension"""
)

#: Begin an answer without a verb.
FRAGMENTS = PREPOSITIONS | PARTICLES | DETERMINERS | NUMBERS
